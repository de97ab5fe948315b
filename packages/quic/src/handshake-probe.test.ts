import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HandshakeProbe } from "./handshake-probe.ts";

describe("HandshakeProbe", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("probes at twice the distance every time, until it is stopped", () => {
    const start = Date.now();
    const times: number[] = [];
    const probe = new HandshakeProbe({
      sentCount: () => 1 + times.length,
      probe: () => times.push(Date.now() - start),
    });
    vi.advanceTimersByTime(3_000);
    expect(times).toEqual([200, 600, 1_400, 3_000]);
    probe.stop();
    vi.advanceTimersByTime(60_000);
    expect(times).toHaveLength(4);
  });

  it("leaves alone a client that sends by itself", () => {
    let sentCount = 1;
    let probeCount = 0;
    const probe = new HandshakeProbe({
      sentCount: () => sentCount + probeCount,
      probe: () => (probeCount += 1),
    });
    vi.advanceTimersByTime(200);
    for (let round = 0; round < 10; round++) {
      sentCount += 1;
      vi.advanceTimersByTime(400);
    }
    expect(probeCount).toBe(1);
    vi.advanceTimersByTime(400);
    expect(probeCount).toBe(2);
    probe.stop();
  });
});
