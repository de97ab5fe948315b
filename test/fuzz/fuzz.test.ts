import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatReplay, writeFailure } from "./engine/failure-file.ts";
import { judgeShortRun } from "./engine/judge-memory.ts";
import { memoryDirectory } from "./engine/memory-directory.ts";
import { runWorkers } from "./engine/run-worker.ts";
import { countsOf, TARGET_NAMES } from "./targets.ts";

/** The same inputs each time, so that what breaks one is a change of ours: `npm run fuzz` finds new ones. */
const STARTS = [1, 2];
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
let temporaryDirectory: string;

beforeAll(async () => {
  temporaryDirectory = await mkdtemp(join(memoryDirectory(), "damselfly-fuzz-"));
});
afterAll(async () => {
  await rm(temporaryDirectory, { recursive: true, force: true });
});

describe("a short run of the fuzzer", () => {
  // Most of the time of most of them is spent waiting.
  it.concurrent.each(TARGET_NAMES)(
    "finds nothing in %s, nor in its corpus, and has no memory swell",
    { timeout: 300_000 },
    async (target) => {
      const { failures, progress, memory } = await runWorkers({
        target,
        starts: STARTS,
        unitCountMax: countsOf(target).short,
        secondsMax: Number.MAX_SAFE_INTEGER,
        isGuided: false,
        corpusDirectory: here(`corpus/${target}`),
        temporaryDirectory,
        workerPath: here("dist/worker.js"),
      });
      const told: string[] = [];
      for (const failure of failures) {
        const path = await writeFailure(here("failures"), target, failure);
        told.push(`${failure.kind}: ${failure.message}\n${formatReplay(target, path)}`);
      }
      expect(told.join("\n\n")).toBe("");
      expect(judgeShortRun(memory)).toBeUndefined();
      expect(progress.unitCount).toBeGreaterThanOrEqual(countsOf(target).short);
    },
  );
});
