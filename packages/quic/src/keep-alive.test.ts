import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KeepAlive } from "./keep-alive.ts";

function open(patienceMs: number) {
  const told = { pings: 0, silences: 0, received: 0 };
  const keepAlive = new KeepAlive({
    patienceMs,
    countReceived: () => told.received,
    ping: () => void (told.pings += 1),
    onSilence: () => void (told.silences += 1),
  });
  return { keepAlive, told };
}

describe("KeepAlive", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("pings three times before it gives a silent peer up, once", async () => {
    const { told } = open(3_000);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(told).toMatchObject({ pings: 3, silences: 0 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told).toMatchObject({ pings: 3, silences: 1 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("goes on as long as anything comes", async () => {
    const { keepAlive, told } = open(3_000);
    for (let second = 0; second < 60; second += 1) {
      told.received += 1;
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(told).toMatchObject({ pings: 60, silences: 0 });
    keepAlive.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not flood a peer that names an idle timeout of a millisecond", async () => {
    const { keepAlive, told } = open(1);
    for (let ms = 0; ms < 1_000; ms += 1) {
      told.received += 1;
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(told.pings).toBe(100);
    keepAlive.stop();
  });
});
