import type { ScrubOptions } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { ScrubLoop, type ScrubObserver } from "./scrub-loop.ts";

let runs: ScrubOptions[];
let outcome: (options: ScrubOptions) => Promise<void>;

const storage = {
  scrub(options: ScrubOptions): Promise<void> {
    runs.push(options);
    return outcome(options);
  },
};

beforeEach(() => {
  vi.useFakeTimers();
  runs = [];
  outcome = ({ signal }) =>
    new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
});

afterEach(() => {
  vi.useRealTimers();
});

function open(
  bytesPerSecond: number,
  observer: ScrubObserver = { pieceScrubbed() {}, scrubPassed() {} },
): ScrubLoop {
  return new ScrubLoop({
    storage,
    bytesPerSecond,
    isBusy: () => false,
    observer,
    logger: SILENT_LOGGER,
  });
}

describe("ScrubLoop", () => {
  it("scrubs until it is disposed, and tells who counts", async () => {
    const pieces: object[] = [];
    let passes = 0;
    const loop = open(1000, {
      pieceScrubbed: (piece: object) => void pieces.push(piece),
      scrubPassed: () => void (passes += 1),
    });
    expect(runs).toMatchObject([{ bytesPerSecond: 1000 }]);
    runs[0]?.onPiece?.({ length: 5, isGood: true });
    runs[0]?.onPass?.();
    expect([pieces, passes]).toEqual([[{ length: 5, isGood: true }], 1]);
    await loop[Symbol.asyncDispose]();
    expect(runs[0]?.signal.aborted).toBe(true);
  });

  it("begins again a while after it has failed", async () => {
    outcome = async () => {
      throw new Error("the disk is away");
    };
    const loop = open(1000);
    await vi.advanceTimersByTimeAsync(59_000);
    expect(runs).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(runs).toHaveLength(2);
    await loop[Symbol.asyncDispose]();
  });

  it("does nothing at a rate of nothing", async () => {
    const loop = open(0);
    expect(runs).toEqual([]);
    await loop[Symbol.asyncDispose]();
  });
});
