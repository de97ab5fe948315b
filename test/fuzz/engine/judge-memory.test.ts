import { describe, expect, it } from "vitest";
import { judgeMemory, judgeShortRun } from "./judge-memory.ts";
import type { MemorySample } from "./worker-protocol.ts";

const MIB = 2 ** 20;

/** Looks at a run, by the MiB that the process has at each. */
function run(...mib: readonly number[]): MemorySample[] {
  return mib.map((rss, index) => ({
    unitCount: index * 100,
    rss: rss * MIB,
    peak: Math.max(...mib.slice(0, index + 1)) * MIB,
    held: 5 * MIB,
  }));
}

describe("judgeMemory", () => {
  const flat = run(50, 80, 100, 101, 99, 103, 100, 104, 98, 100, 101, 102, 99, 100, 101, 100);

  it("is content with what grows at first, and with what comes and goes", () => {
    expect(judgeMemory(flat)).toBeUndefined();
  });

  it("says what has grown", () => {
    const leak = run(...Array.from({ length: 16 }, (_, index) => 100 + 20 * index));
    expect(judgeMemory(leak)).toBe("memory of the process has grown from 220 to 380 MiB");
    const held = flat.map((sample, index) => ({ ...sample, held: index * 10 * MIB }));
    expect(judgeMemory(held)).toMatch(/^memory of JavaScript has grown/);
  });

  it("looks at the last process alone, and says nothing of one that was looked at a few times", () => {
    expect(judgeMemory([...run(900, 900, 900), ...flat])).toBeUndefined();
    expect(judgeMemory(run(1, 100, 1000, 10_000))).toBeUndefined();
  });
});

describe("judgeShortRun", () => {
  it("is content with two looks, and with what is compiled and cached between them", () => {
    expect(judgeShortRun(run(60, 150))).toBeUndefined();
  });

  it("says what has grown by far more", () => {
    expect(judgeShortRun(run(60, 90, 400))).toBe(
      "memory of the process has grown from 60 to 400 MiB",
    );
    const held = run(60, 90).map((sample, index) => ({ ...sample, held: index * 100 * MIB }));
    expect(judgeShortRun(held)).toBe("memory of JavaScript has grown from 0 to 100 MiB");
  });

  it("says what was taken for a moment, though it was given back", () => {
    expect(judgeShortRun(run(60, 2_000, 60))).toBe("memory of the process was 2000 MiB at a time");
  });

  it("says when nobody has looked, at the last process alone", () => {
    expect(judgeShortRun([...run(60, 90), ...run(60)])).toMatch(/less than twice/);
  });
});
