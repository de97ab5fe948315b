import { TransportError } from "@damselfly/transport";
import { describe, expect, it } from "vitest";

import {
  Actor,
  assertGood,
  assertGoodAfterPowerLoss,
  contentPathOf,
  emptyDisk,
} from "../test-support/crash-moments.ts";
import type { MemoryDisk, Step } from "../test-support/memory-disk.ts";
import { StorageError, type StorageErrorCode } from "./errors.ts";

/** What may go wrong, where, and what it is called then. */
const FAULTS: [string, StorageErrorCode, (step: Step) => boolean][] = [
  ["EIO", "ERR_IO", () => true],
  ["ENOSPC", "ERR_NO_SPACE", (step) => step.changes],
  ["EROFS", "ERR_READ_ONLY", (step) => step.changes],
  ["EMFILE", "ERR_TOO_MANY_FILES", ({ name }) => name === "open" || name === "readdir"],
];

/** One after the other, whether or not the one before succeeds. */
const ACTIONS: ((actor: Actor) => Promise<unknown>)[] = [
  (actor) => actor.open(),
  (actor) => actor.create("a"),
  (actor) => actor.write("a", 1),
  (actor) => actor.write("a", 0),
  (actor) => actor.create("b"),
  (actor) => actor.write("b", 0),
  (actor) => actor.write("a", 2),
  (actor) => actor.output("a", "first"),
  (actor) => actor.seal("a"),
  (actor) => actor.output("a", "second"),
  (actor) => actor.serve("a", 0),
  (actor) => actor.spool("a").then((spool) => spool[Symbol.asyncDispose]()),
  async (actor) => {
    if (actor.disk.list().has("/out/first")) actor.edit("a", "first", 1200);
  },
  (actor) => actor.write("a", 1),
  (actor) => actor.pin("a", true),
  async (actor) => await actor.storage.usage(),
  (actor) => actor.remove("b"),
  (actor) => actor.close(),
  (actor) => actor.open(),
  (actor) => actor.serve("a", 0),
  (actor) => actor.write("a", 1),
];

describe.each(FAULTS)("a disk that says %s", (systemCode, code, applies) => {
  it.each([
    ["once", false],
    ["until it is mended", true],
  ])(
    "%s harms nothing that is done, has one name, and is forgotten",
    async (_name, lasts) => {
      const steps: Step[] = [];
      await run((step) => {
        steps.push(step);
        return undefined;
      });
      const numbers = steps.flatMap((step, index) => (applies(step) ? [index] : []));
      expect(numbers.length).toBeGreaterThan(20);
      // An output takes a tick of the clock, in which others can be tried.
      for (let first = 0; first < numbers.length; first += 16)
        await Promise.all(numbers.slice(first, first + 16).map((at) => failAt(at, lasts)));
    },
    600_000,
  );

  async function failAt(at: number, lasts: boolean): Promise<void> {
    let number = 0;
    let failed: Step | undefined;
    let isMended = false;
    let isForgotten = false;
    const { actor, disk, errors } = await run((step, { isClosing }) => {
      const isDue = number === at || (lasts && number > at);
      number += 1;
      if (isMended || !isDue || !applies(step)) return undefined;
      failed ??= step;
      isForgotten ||= step.name === "sync" && (lasts || isClosing);
      return systemCode;
    });
    isMended = true;
    try {
      for (const error of errors) assertNamed(error, code);
      // What was not written is; what was, has been kept; and so it is for whoever comes next.
      await actor.reopenIfClosed();
      await actor.fetch("a");
      await actor.output("a", "last", { overwrite: true });
      await actor.close();
      await assertGood(disk.afterKill(), actor.ledger);
      // What a sync did not get to the disk is not taken for being there because the next one says nothing. The next process cannot know.
      if (!isForgotten) await assertGoodAfterPowerLoss(disk, actor.ledger);
    } catch (error) {
      throw new Error(`failed at ${at}: ${failed?.name} ${failed?.path}`, { cause: error });
    }
  }
});

describe("a sync that fails", () => {
  it("has the pieces written anew: the next one says nothing of what the kernel has given up", async () => {
    const disk = await emptyDisk();
    const actor = new Actor(disk);
    await actor.open();
    await actor.create("a");
    for (const number of [0, 1, 2]) await actor.write("a", number);
    let failCount = 1;
    disk.onStep = ({ name }) => (name === "sync" && failCount-- > 0 ? "EIO" : undefined);
    await expect(actor.seal("a")).rejects.toMatchObject({ code: "ERR_IO" });
    await actor.seal("a");
    await assertGoodAfterPowerLoss(disk, actor.ledger);
  });

  it("is not forgotten when the file that they are written to does not get its name", async () => {
    const disk = await emptyDisk();
    const actor = new Actor(disk);
    await actor.open();
    await actor.create("a");
    for (const number of [0, 1, 2]) await actor.write("a", number);
    const due = ["sync", "rename"];
    disk.onStep = ({ name, path }) => {
      if (name !== due[0] || path !== contentPathOf("a")) return undefined;
      due.shift();
      return "EIO";
    };
    await expect(actor.seal("a")).rejects.toMatchObject({ code: "ERR_IO" });
    await expect(actor.seal("a")).rejects.toMatchObject({ code: "ERR_IO" });
    expect(due).toEqual([]);
    await actor.seal("a");
    await assertGoodAfterPowerLoss(disk, actor.ledger);
  });
});

async function run(
  onStep: (step: Step, actor: Actor) => string | undefined,
): Promise<{ actor: Actor; disk: MemoryDisk; errors: unknown[] }> {
  const disk = await emptyDisk();
  const actor = new Actor(disk);
  disk.onStep = (step) => onStep(step, actor);
  const errors: unknown[] = [];
  for (const action of ACTIONS) await action(actor).catch((error: unknown) => errors.push(error));
  return { actor, disk, errors };
}

/** What follows from a failure is told as what it is, too: a task that is not there, a piece that is missing. */
const CONSEQUENCES = [
  "ERR_PIECE_MISSING",
  "ERR_TASK_GONE",
  "ERR_OUTPUT_EXISTS",
  "ERR_OUTPUT_DIRECTORY",
];

function assertNamed(error: unknown, code: StorageErrorCode): void {
  if (error instanceof TransportError) return;
  if (!(error instanceof StorageError)) throw error;
  expect([code, ...CONSEQUENCES]).toContain(error.code);
  expect(error.message).toMatch(/^Cannot \w+/);
}
