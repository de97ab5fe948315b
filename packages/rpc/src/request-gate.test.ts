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

  it("starts afresh after a quiet while", async () => {
    const gate = new RequestGate({ ratePerSecond: 1, waitingCountMax: 0 });
    for (let second = 0; second < 3; second += 1) {
      await gate.enter(never);
      await expect(gate.enter(never)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
      await vi.advanceTimersByTimeAsync(5_000);
    }
  });
});
