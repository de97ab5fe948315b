import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { failureOf } from "./conformance.ts";
import { within } from "./within.ts";

describe("within", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("passes on a value or a failure and leaves no timer behind", async () => {
    expect(await within(Promise.resolve(7), { ms: 50, expired })).toBe(7);
    const reason = new Error("broken");
    expect(await failureOf(within(Promise.reject(reason), { ms: 50, expired }))).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives up when the time is over, and not before", async () => {
    const failed = failureOf(within(never(), { ms: 50, expired }));
    let over = false;
    void failed.then(() => (over = true));
    await vi.advanceTimersByTimeAsync(49);
    expect(over).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await failed).toEqual(expired());
  });

  it("gives up with the reason of the signal, aborted before or later", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const { signal } = controller;
    const failed = failureOf(within(never(), { ms: 50, signal, expired }));
    controller.abort(reason);
    expect(await failed).toBe(reason);
    expect(await failureOf(within(never(), { ms: 50, signal, expired }))).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not leave a late failure unhandled", async () => {
    const reason = new Error("too late");
    let fail: ((error: Error) => void) | undefined;
    const work = new Promise<never>((_, reject) => (fail = reject));
    const failed = failureOf(within(work, { ms: 50, expired }));
    await vi.advanceTimersByTimeAsync(50);
    await failed;
    // An unhandled rejection would fail the test run.
    fail?.(reason);
    await vi.advanceTimersByTimeAsync(1);
  });
});

function expired(): Error {
  return new Error("time is over");
}

async function never(): Promise<never> {
  return new Promise(() => undefined);
}
