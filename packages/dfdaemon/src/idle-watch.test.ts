import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchIdle } from "./idle-watch.ts";

describe("watchIdle", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("calls back once when nothing happened for long enough", () => {
    const onIdle = vi.fn<() => void>();
    watchIdle({ idleMs: 1_000, isBusy: () => false, onIdle });
    vi.advanceTimersByTime(900);
    expect(onIdle).not.toHaveBeenCalled();
    vi.advanceTimersByTime(5_000);
    expect(onIdle).toHaveBeenCalledOnce();
  });

  it("waits while something runs or is asked", () => {
    const onIdle = vi.fn<() => void>();
    let busy = true;
    const watch = watchIdle({ idleMs: 1_000, isBusy: () => busy, onIdle });
    vi.advanceTimersByTime(5_000);
    busy = false;
    vi.advanceTimersByTime(750);
    watch.touch();
    vi.advanceTimersByTime(900);
    expect(onIdle).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    expect(onIdle).toHaveBeenCalledOnce();
  });

  it("stays quiet once stopped", () => {
    const onIdle = vi.fn<() => void>();
    watchIdle({ idleMs: 1_000, isBusy: () => false, onIdle }).stop();
    vi.advanceTimersByTime(5_000);
    expect(onIdle).not.toHaveBeenCalled();
  });
});
