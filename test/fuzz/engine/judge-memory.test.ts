import { describe, expect, it } from "vitest";
import { judgeMemory } from "./judge-memory.ts";
import type { MemorySample } from "./worker-protocol.ts";

const MIB = 2 ** 20;

/** Looks at a run, by the MiB that the process has at each. */
function run(...mib: readonly number[]): MemorySample[] {
  return mib.map((rss, index) => ({ unitCount: index * 100, rss: rss * MIB, held: 5 * MIB }));
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
