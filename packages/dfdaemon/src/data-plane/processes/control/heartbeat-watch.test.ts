import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HeartbeatWatch } from "./heartbeat-watch.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("HeartbeatWatch", () => {
  it("says so once when nothing was heard for long enough", () => {
    const onSilence = vi.fn();
    const watch = new HeartbeatWatch({ silenceMs: 1_000, onSilence });
    for (let beat = 0; beat < 20; beat += 1) {
      vi.advanceTimersByTime(900);
      watch.beat();
    }
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(5_000);
    expect(onSilence).toHaveBeenCalledTimes(1);
  });

  it("does not count time in which this process did not run either", () => {
    const onSilence = vi.fn();
    const watch = new HeartbeatWatch({ silenceMs: 1_000, onSilence });
    vi.advanceTimersByTime(800);
    // As after a stop of the whole machine: the clock is elsewhere, timers fire once.
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(100);
    expect(onSilence).not.toHaveBeenCalled();
    watch.stop();
    vi.advanceTimersByTime(10_000);
    expect(onSilence).not.toHaveBeenCalled();
  });
});
