import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RequestGate } from "./request-gate.ts";

const never = new AbortController().signal;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("RequestGate", () => {
  it("lets its rate through, keeps a few waiting for the next second, and refuses the rest", async () => {
    const gate = new RequestGate({ ratePerSecond: 3, waitingCountMax: 2 });
    for (let count = 0; count < 3; count += 1) await gate.enter(never);
    let entered = 0;
    const waiting = [0, 1].map(() => gate.enter(never).then(() => (entered += 1)));
    await expect(gate.enter(never)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "server is overloaded: too many requests, please retry later",
    });
    await vi.advanceTimersByTimeAsync(999);
    expect(entered).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    await Promise.all(waiting);
    // Those two belong to the new second, of which one is left.
    await gate.enter(never);
    const next = gate.enter(never);
    await vi.advanceTimersByTimeAsync(1_000);
    await next;
  });

  it("gives the place of who leaves to somebody else", async () => {
    const gate = new RequestGate({ ratePerSecond: 1, waitingCountMax: 1 });
    await gate.enter(never);
    const leaving = new AbortController();
    const left = gate.enter(leaving.signal);
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    const stays = gate.enter(never);
    await vi.advanceTimersByTimeAsync(1_000);
    await stays;
    await expect(gate.enter(AbortSignal.abort(new Error("gone before")))).rejects.toThrow("before");
  });

  it("gives an address all there is while nobody else asks, then half of it", async () => {
    const gate = new RequestGate({ ratePerSecond: 4, waitingCountMax: 4 });
    const flood = async (): Promise<{
      readonly passed: () => number;
      readonly refused: number;
    }> => {
      const outcomes = Array.from({ length: 100 }, () => gate.enter(never, "192.0.2.1"));
      let [passed, refused] = [0, 0];
      for (const outcome of outcomes) {
        outcome.then(
          () => (passed += 1),
          () => (refused += 1),
        );
      }
      await vi.advanceTimersByTimeAsync(0);
      return { passed: () => passed, refused };
    };
    const first = await flood();
    expect(first.passed()).toBe(4);
    expect(first.refused).toBe(94); // two wait
    const others = ["192.0.2.2", "192.0.2.3"].map((ip) => gate.enter(never, ip));
    await vi.advanceTimersByTimeAsync(1_000);
    await Promise.all(others);
    expect(first.passed()).toBe(6);
    await vi.advanceTimersByTimeAsync(1_000);
    const second = await flood();
    expect(second.passed()).toBe(2);
    await gate.enter(never, "192.0.2.2");
    await gate.enter(never, "192.0.2.3");
  });

  it("starts afresh after a quiet while", async () => {
    const gate = new RequestGate({ ratePerSecond: 1, waitingCountMax: 0 });
    for (let second = 0; second < 3; second += 1) {
      await gate.enter(never);
      await expect(gate.enter(never)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
      await vi.advanceTimersByTimeAsync(5_000);
    }
  });
});
