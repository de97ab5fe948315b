import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TRAPS } from "../targets.ts";
import { addToCorpus } from "./corpus.ts";
import { readInputs, writeFailure } from "./failure-file.ts";
import { judgeShortRun } from "./judge-memory.ts";
import { memoryDirectory } from "./memory-directory.ts";
import { type FuzzOrder, replay, runWorkers } from "./run-worker.ts";

let temporaryDirectory: string;
beforeAll(async () => {
  temporaryDirectory = await mkdtemp(join(memoryDirectory(), "damselfly-fuzz-test-"));
});
afterAll(async () => {
  await rm(temporaryDirectory, { recursive: true, force: true });
});

function orderFor(target: string, unitCountMax: number): FuzzOrder {
  return {
    target,
    starts: [1],
    unitCountMax,
    secondsMax: Number.MAX_SAFE_INTEGER,
    isGuided: false,
    corpusDirectory: join(temporaryDirectory, "none"),
    temporaryDirectory,
    cpuMsMax: 100,
    workerPath: fileURLToPath(new URL("../dist/worker.js", import.meta.url)),
  };
}

const inputsOf = (...texts: readonly string[]): Uint8Array[] =>
  texts.map((text) => Buffer.from(text));

// The machine may have much else to do.
const timeout = 120_000;

describe("replay", { timeout }, () => {
  it.each([
    ["breaks a promise", "!break", "broken"],
    ["has something thrown that nobody catches", "!throw", "uncaught"],
    ["ends the process", "!kill", "crashed"],
    ["takes more processor time than it may", "!work", "slow"],
  ])("tells of an input that %s", async (_, word, kind) => {
    const failures = await replay(inputsOf("a", word), orderFor(TRAPS, 1));
    expect(failures.map((failure) => failure.kind)).toEqual([kind]);
  });

  it("kills a process that is busy without an end, and tells", async () => {
    const order = { ...orderFor(TRAPS, 1), silenceMs: 5_000 };
    const failures = await replay(inputsOf("!spin"), order);
    expect(failures.map(({ kind, message }) => [kind, message])).toEqual([
      ["hung", "the process was silent for 5 s"],
    ]);
  });

  it("tells of an input that leaves something open", async () => {
    const order = { ...orderFor(TRAPS, 1), silenceMs: 5_000 };
    const failures = await replay(inputsOf("!leave"), order);
    expect(failures.map(({ kind, message }) => [kind, message])).toEqual([
      ["hung", "the process does not end: something was left open"],
    ]);
  });

  it("has nothing to tell of good inputs", async () => {
    expect(await replay(inputsOf("a", "b"), orderFor(TRAPS, 1))).toEqual([]);
  });
});

describe("runWorkers", { timeout }, () => {
  it("finds an input that breaks a promise, makes it as small as it can be, and keeps it to be seen again", async () => {
    const { failures, progress } = await runWorkers(orderFor(TRAPS, 5_000));
    expect(new Set(failures.map(({ kind }) => kind))).toEqual(new Set(["broken"]));
    const path = await writeFailure(join(temporaryDirectory, "failures"), TRAPS, failures[0]!);
    const inputs = await readInputs(path);
    expect(inputs.map(String)).toEqual(["!break"]);
    expect(progress.unitCount).toBeGreaterThanOrEqual(100);
    expect((await replay(inputs, orderFor(TRAPS, 1))).map(({ kind }) => kind)).toEqual(["broken"]);
  });

  it("shows that inputs are kept in memory, also in a short run", async () => {
    const corpusDirectory = join(temporaryDirectory, "hoard");
    await addToCorpus(corpusDirectory, Buffer.from("!hoard"));
    const { memory } = await runWorkers({ ...orderFor(TRAPS, 300), corpusDirectory });
    expect(judgeShortRun(memory)).toMatch(/^memory of the process has grown/);
    const flat = await runWorkers(orderFor(TRAPS, 300));
    expect(judgeShortRun(flat.memory)).toBeUndefined();
  });

  it("looks at which code is reached, and keeps inputs that reach more", async () => {
    const kept: Uint8Array[] = [];
    const order = { ...orderFor("vortex", 20_000), isGuided: true };
    const { progress } = await runWorkers(order, { kept: (input) => kept.push(input) });
    expect(progress.blockCount).toBeGreaterThan(50);
    expect(kept.length).toBeGreaterThan(0);
    expect(kept).toHaveLength(progress.keptCount);
  });
});
