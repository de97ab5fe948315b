import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HalfOpen } from "./half-open.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

class Connection {
  isDestroyed = false;
  destroy(): void {
    this.isDestroyed = true;
  }
}

function create(countMax = 2) {
  const halfOpen = new HalfOpen<Connection>({ countMax, timeoutMs: 100 });
  const enter = (): Connection => {
    const connection = new Connection();
    halfOpen.enter(connection);
    return connection;
  };
  return { halfOpen, enter };
}

describe("HalfOpen", () => {
  it("gives each its time, and leaves alone who has said enough", () => {
    const { halfOpen, enter } = create();
    const [slow, quick] = [enter(), enter()];
    vi.advanceTimersByTime(99);
    halfOpen.leave(quick);
    halfOpen.leave(quick);
    expect(slow.isDestroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect([slow.isDestroyed, quick.isDestroyed]).toEqual([true, false]);
    expect([halfOpen.count, halfOpen.expelledCount]).toEqual([0, 1]);
  });

  it("pushes out the oldest for one too many, however many come", () => {
    const { halfOpen, enter } = create();
    const [first, second] = [enter(), enter()];
    expect(first.isDestroyed).toBe(false);
    enter();
    expect([first.isDestroyed, second.isDestroyed]).toEqual([true, false]);
    for (let count = 0; count < 1_000; count += 1) enter();
    const last = enter();
    expect([halfOpen.count, halfOpen.expelledCount, last.isDestroyed]).toEqual([2, 1_002, false]);
  });

  /** A connection that has entered, and the end of its time, at which so many milliseconds too late are looked at the clock. */
  function enterStopped() {
    let nowMs = 1_000;
    const due: (() => void)[] = [];
    const clock = {
      now: () => nowMs,
      after: (ms: number, run: () => void) => {
        expect(ms).toBe(100);
        due.push(run);
        return () => {};
      },
    };
    const halfOpen = new HalfOpen<Connection>({ countMax: 2, timeoutMs: 100, clock });
    const connection = new Connection();
    halfOpen.enter(connection);
    const pass = (lateMs: number): void => {
      nowMs += 100 + lateMs;
      due.shift()!();
    };
    return { halfOpen, connection, pass };
  }

  it("gives whoever's time ended while this process was stopped as much again", () => {
    const { halfOpen, connection, pass } = enterStopped();
    pass(5_000);
    expect([connection.isDestroyed, halfOpen.count]).toEqual([false, 1]);
    pass(10);
    expect([connection.isDestroyed, halfOpen.count]).toEqual([true, 0]);
  });

  it("does so once, however late it is", () => {
    const { halfOpen, connection, pass } = enterStopped();
    pass(5_000);
    pass(5_000);
    expect([connection.isDestroyed, halfOpen.count, halfOpen.expelledCount]).toEqual([true, 0, 1]);
  });
});
