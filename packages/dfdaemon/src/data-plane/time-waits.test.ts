import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { timeWaits } from "./time-waits.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("timeWaits", () => {
  it("tells of the time in which bytes are waited for, while that goes on, and of no other", async () => {
    async function* content(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(3);
      await sleep(1_000);
      yield new Uint8Array(4);
    }
    let waitedMs = 0;
    const timed = timeWaits(content(), (ms) => (waitedMs += ms), Date.now);
    expect((await timed.next()).value).toHaveLength(3);
    // The disk takes its time.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(waitedMs).toBe(0);
    const second = timed.next();
    await vi.advanceTimersByTimeAsync(500);
    expect(waitedMs).toBe(400);
    await vi.advanceTimersByTimeAsync(500);
    expect((await second).value).toHaveLength(4);
    expect((await timed.next()).done).toBe(true);
    expect(waitedMs).toBe(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("closes the content when it is closed, and throws what it throws", async () => {
    let isClosed = false;
    async function* content(): AsyncGenerator<Uint8Array> {
      try {
        yield new Uint8Array(3);
        yield new Uint8Array(3);
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of timeWaits(content(), () => {})) break;
    expect(isClosed).toBe(true);
    // oxlint-disable-next-line require-yield -- it fails at once
    async function* broken(): AsyncGenerator<Uint8Array> {
      throw new Error("broken");
    }
    await expect(timeWaits(broken(), () => {}).next()).rejects.toThrow("broken");
    expect(vi.getTimerCount()).toBe(0);
  });
});
