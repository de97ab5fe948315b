import { describe, expect, it } from "vitest";

import { TaskUse } from "./task-use.ts";

function at(nowMs: number): { clock: { now(): number }; use: TaskUse; wait: (ms: number) => void } {
  let now = nowMs;
  const clock = { now: () => now };
  return { clock, use: new TaskUse(clock, nowMs), wait: (ms) => void (now += ms) };
}

describe("TaskUse", () => {
  it("is busy while anybody retains, serves or hands out, however often each says that he is done", () => {
    const { use } = at(0);
    const ends = [use.retain(), use.serve(), use.handOut(), use.retain()];
    for (const end of ends) {
      expect(use.busy).toBe(true);
      end(false);
      end(false);
    }
    expect(use.busy).toBe(false);
  });

  it("counts what is served, and what was delivered to its end", () => {
    const { use } = at(0);
    const [first, second] = [use.serve(), use.serve()];
    expect(use.uploadingCount).toBe(2);
    first(true);
    second(false);
    expect([use.uploadingCount, use.uploadedCount]).toEqual([0, 1]);
  });

  it("expects whoever created the task to retain it, for a while", () => {
    const { use, wait } = at(0);
    expect(use.isFetched).toBe(false);
    use.expectRetain();
    expect([use.isFetched, use.busy]).toEqual([true, false]);
    wait(10_000);
    expect(use.isFetched).toBe(false);
    use.expectRetain();
    use.retain()();
    expect(use.isFetched).toBe(false);
  });

  it("has a use written down once, and none that is less than a minute later", () => {
    const { use, wait } = at(1000);
    wait(59_000);
    use.touch();
    expect(use.takeUnwritten()).toBeUndefined();
    wait(1000);
    use.serve()(true);
    expect(use.usedAtMs).toBe(61_000);
    expect(use.takeUnwritten()).toBe(61_000);
    expect(use.takeUnwritten()).toBeUndefined();
  });
});
