import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { QuietCollector } from "./quiet-collector.ts";

let loop: { active: number; idle: number; utilization: number };
let count: number;
let trimCount: number;
beforeEach(() => {
  vi.useFakeTimers();
  loop = { active: 0, idle: 0, utilization: 0 };
  count = trimCount = 0;
});
afterEach(() => void vi.useRealTimers());

function open(): QuietCollector {
  return new QuietCollector({
    collect: () => void (count += 1),
    trim: () => void (trimCount += 1),
    look: () => ({ ...loop }),
  });
}

/** Lets time pass in which the loop is busy for this part of it. */
function pass(seconds: number, busy: number): void {
  for (let second = 0; second < seconds; second += 1) {
    loop.active += 1_000 * busy;
    loop.idle += 1_000 * (1 - busy);
    vi.advanceTimersByTime(1_000);
  }
}

it("collects when there is nothing to do any more, and once more when connections have been closed", () => {
  using _ = open();
  pass(10, 0.9);
  expect(count).toBe(0);
  pass(20, 0.01);
  expect(count).toBe(2);
  pass(40, 0);
  expect(count).toBe(2);
  pass(20, 0);
  expect(count).toBe(4);
  pass(600, 0);
  expect(count).toBe(4);
});

it("puts the second time off while there is a little to do", () => {
  using _ = open();
  pass(10, 0.9);
  pass(20, 0);
  pass(5, 0.08);
  pass(60, 0);
  expect(count).toBe(2);
  pass(20, 0);
  expect(count).toBe(4);
  pass(600, 0);
  expect(count).toBe(4);
});

it("collects again after more work", () => {
  using _ = open();
  for (let round = 1; round <= 3; round += 1) {
    pass(5, 0.5);
    pass(20, 0);
    expect(count).toBe(2 * round);
  }
});

it("has the C library give back what was freed, once, if it is quiet still", () => {
  using _ = open();
  pass(10, 0.9);
  pass(15, 0);
  expect({ count, trimCount }).toEqual({ count: 2, trimCount: 0 });
  pass(10, 0.9);
  pass(15, 0);
  expect({ count, trimCount }).toEqual({ count: 2, trimCount: 1 });
  pass(40, 0);
  expect({ count, trimCount }).toEqual({ count: 4, trimCount: 2 });
  pass(600, 0);
  expect({ count, trimCount }).toEqual({ count: 6, trimCount: 3 });
});

it("never collects while there is something to do", () => {
  using _ = open();
  for (let round = 0; round < 50; round += 1) {
    pass(5, 0.2);
    pass(5, 0.01);
  }
  expect(count).toBe(0);
});

it("does not collect for what is hardly any work, until it adds up", () => {
  using _ = open();
  pass(40, 0.01);
  expect(count).toBe(0);
  pass(20, 0.01);
  expect(count).toBe(2);
});

it("stops when it is disposed", () => {
  const collector = open();
  pass(10, 0.9);
  collector[Symbol.dispose]();
  pass(60, 0);
  expect(count).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

it("has V8 free what is garbage, and keeps no process alive", async () => {
  const code = `
    const { QuietCollector } = await import(${JSON.stringify(new URL("../dist/quiet-collector.js", import.meta.url))});
    const loop = { active: 0, idle: 0 };
    let tick;
    globalThis.setInterval = (onTick) => ((tick = onTick), { unref: () => ({}) });
    new QuietCollector({ look: () => ({ ...loop }) });
    let freed = false;
    const registry = new FinalizationRegistry(() => (freed = true));
    (() => registry.register({}, 0))();
    loop.active = 1_000;
    for (let look = 0; look < 4; look += 1) { loop.idle += 5_000; tick(); }
    for (let look = 0; look < 40 && !freed; look += 1)
      await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(freed, typeof registry);`;
  const run = promisify(execFile);
  vi.useRealTimers();
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", code]);
  expect({ stdout, stderr }).toEqual({ stdout: "true object\n", stderr: "" });
}, 30_000);
