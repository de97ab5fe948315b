import { describe, expect, it } from "vitest";

import {
  type Actor,
  describeMoment,
  inspectAfterKill,
  inspectAfterPowerLoss,
  journalPathOf,
  type Moment,
  recordMoments,
} from "../test-support/crash-moments.ts";

/** Each is done on an empty disk, and then stopped before each of its operations. */
const SCENARIOS: [string, (actor: Actor) => Promise<void>, number?][] = [
  [
    "fetching a task, handing it out and sealing it",
    async (actor) => {
      await actor.open();
      await actor.create("a");
      await actor.write("a", 1);
      await actor.write("a", 0);
      await actor.write("a", 2);
      await actor.output("a", "first");
      await actor.seal("a");
      await actor.output("a", "second");
      await actor.output("a", "second", { overwrite: true });
      await actor.close();
    },
  ],
  [
    "fetching two tasks at once",
    async (actor) => {
      await actor.open();
      await Promise.all([actor.create("a"), actor.create("b")]);
      await Promise.all(
        [0, 1, 2].flatMap((number) => [actor.write("a", number), actor.write("b", number)]),
      );
      await Promise.all([actor.seal("a"), actor.output("b", "b")]);
      await actor.close();
    },
  ],
  [
    "stopping with an unfinished task, and finishing it later",
    async (actor) => {
      await actor.open();
      await actor.create("a");
      await actor.write("a", 1);
      await actor.close();
      await actor.open();
      await actor.create("a");
      await actor.write("a", 2);
      await actor.write("a", 0);
      await actor.seal("a");
      await actor.close();
    },
  ],
  [
    "deleting a task and fetching it again",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.output("a", "a");
      await actor.remove("a");
      await actor.fetch("a");
      await actor.close();
    },
  ],
  [
    "replacing a task by another version of it",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.replace("a");
      await actor.write("a", 1);
      await actor.write("a", 0);
      await actor.write("a", 2);
      await actor.seal("a");
      await actor.close();
    },
  ],
  [
    "moving to a fresh file because somebody edits an output",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.output("a", "edited");
      actor.edit("a", "edited", 1200);
      await actor.create("a");
      await actor.write("a", 1);
      await actor.seal("a");
      await actor.output("a", "good");
      await actor.close();
    },
  ],
  [
    "withdrawing a piece that has rotted, and fetching it again",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.rot("a", 1);
      await actor.write("a", 1);
      await actor.seal("a");
      await actor.close();
    },
  ],
  [
    "recovering from a damaged journal",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.close();
      const middle = Math.floor(actor.disk.read(journalPathOf("a")).byteLength / 2);
      actor.disk.patch(journalPathOf("a"), (bytes) => bytes.fill(0, middle, middle + 10));
      actor.forgetPiecesBut("a", [0, 2]);
      await actor.open();
      await actor.create("a");
      await actor.write("a", 1);
      await actor.seal("a");
      await actor.close();
    },
  ],
  [
    "taking over other facts, and writing the journal anew when it has grown",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.adopt("a", "h".repeat(60_000));
      await actor.adopt("a", "i".repeat(60_000));
      await actor.adopt("a", "j".repeat(60));
      await actor.close();
      await actor.open();
      await actor.task("a");
      await actor.close();
    },
    20_000,
  ],
  [
    "pinning tasks, evicting one and deleting another",
    async (actor) => {
      await actor.open();
      await actor.fetch("a");
      await actor.fetch("b");
      await actor.pin("a", true);
      await actor.pin("b", true);
      await actor.pin("b", false);
      await actor.evict("b");
      await actor.close();
      await actor.open();
      await actor.remove("a");
      await actor.close();
    },
  ],
  [
    "spooling content whose length nobody knows",
    async (actor) => {
      await actor.open();
      const spool = await actor.spool("a");
      await actor.fetch("a");
      await spool[Symbol.asyncDispose]();
      await actor.close();
    },
  ],
];

describe.each(SCENARIOS)("%s", (_name, act, writeLengthMax = 400) => {
  it("may be killed at any step, and so may the recovery from that", async () => {
    const moments = await recordMoments(act, { writeLengthMax });
    expect(moments.length).toBeGreaterThan(20);
    await forEachMoment(moments, inspectAfterKill);
    for (const [index, moment] of moments.entries()) {
      if (index % 4 !== 0) continue;
      const recovering = await recordMoments(recover, { from: moment });
      await forEachMoment(recovering, inspectAfterKill);
    }
  }, 600_000);

  it("may lose power at any step, whatever of it was not synced", async () => {
    await forEachMoment(await recordMoments(act, { writeLengthMax }), inspectAfterPowerLoss);
  }, 600_000);
});

async function recover(actor: Actor): Promise<void> {
  await actor.open();
  await actor.fetch("a");
  await actor.close();
}

async function forEachMoment(
  moments: readonly Moment[],
  inspect: (moment: Moment) => Promise<void>,
): Promise<void> {
  for (const moment of moments) {
    try {
      await inspect(moment);
    } catch (error) {
      throw new Error(`stopped before ${describeMoment(moment)}`, { cause: error });
    }
  }
}
