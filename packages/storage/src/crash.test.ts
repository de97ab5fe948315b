import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { contentOfTask, taskIdOf } from "../test-support/crash-content.mjs";
import { collect, createFixture, type StorageFixture } from "../test-support/fixture.ts";

const CYCLE_COUNT = 10;
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const WRITER = join(PACKAGE, "test-support/write-until-killed.mjs");
let fixture: StorageFixture;

// The process that is killed runs what is built, so it is built from what is tested.
beforeAll(async () => {
  const tsc = fileURLToPath(new URL("../../../node_modules/.bin/tsc", import.meta.url));
  await promisify(execFile)(tsc, ["-b", PACKAGE]);
}, 120_000);

beforeEach(async () => {
  fixture = await createFixture();
});

afterEach(async () => {
  await fixture.remove();
});

describe("a storage whose process is killed at random moments", () => {
  it("opens at once, has no piece that is wrong, and leaves only complete outputs", async () => {
    let pieceCount = 0;
    for (let cycle = 0; cycle < CYCLE_COUNT; cycle++) {
      await runAndKill(String(cycle), Math.random() * 150);

      const storage = await fixture.open({ limits: {} });
      for (const { facts } of await storage.listTasks()) {
        const task = await storage.openTask(facts.taskId);
        if (task === undefined) continue;
        const content = contentOfTask(indexOf(facts.taskId));
        for (const piece of task.pieces.values()) {
          const expected = content.subarray(piece.offset, piece.offset + piece.length);
          // Not `toEqual`, which takes its time over every single byte.
          expect(Buffer.compare(await collect(task.read(piece)), expected)).toBe(0);
          pieceCount++;
        }
      }
      // A piece is recorded right after its bytes are with the kernel, which outlives the process: none is lost.
      expect(fixture.warnings).toEqual([]);
      await expectCompleteOutputs();
      await fixture.close();
    }
    expect(pieceCount).toBeGreaterThan(0);
  }, 120_000);
});

async function runAndKill(run: string, delayMs: number): Promise<void> {
  const child = spawn(process.execPath, [WRITER, fixture.directory, run], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  await once(child.stdout, "data");
  // The one place where a test waits: for chance to pick the moment.
  await sleep(delayMs);
  child.kill("SIGKILL");
  const [, signal] = await exited;
  expect(signal).toBe("SIGKILL");
}

async function expectCompleteOutputs(): Promise<void> {
  const directory = fixture.path("outputs");
  const contents = Array.from({ length: 12 }, (_, index) => Buffer.from(contentOfTask(index)));
  for (const name of await readdir(directory)) {
    expect(name).not.toContain("damselfly-tmp");
    const bytes = await readFile(join(directory, name));
    expect(contents.some((content) => content.equals(bytes))).toBe(true);
  }
}

function indexOf(taskId: string): number {
  for (let index = 0; index < 12; index++) if (taskIdOf(index) === taskId) return index;
  throw new Error(`no such task: ${taskId}`);
}
