// How slow the machine is at this moment: what bounds are scaled with.
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";

/** How long an empty Node program takes on a machine that is not slow. Milliseconds. */
export const REFERENCE_MS = 120;
const EVERY_MS = 5_000;
const SLOWNESS_MAX = 12;
const RECENT_COUNT = 3;

export class SlownessGauge {
  /** Of each empty program, in milliseconds. */
  samplesMs = [];

  /** Looks once now. */
  async sample() {
    const startedMs = performance.now();
    await once(spawn(process.execPath, ["-e", "0"], { stdio: "ignore" }), "close");
    this.samplesMs.push(performance.now() - startedMs);
  }

  /** Looks again and again until the signal aborts. */
  async run(signal) {
    while (!signal.aborted) {
      await this.sample();
      await pause(EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** 1: as fast as it should be, 2: half as fast. The worst of the last few looks. */
  get now() {
    const worst = Math.max(0, ...this.samplesMs.slice(-RECENT_COUNT));
    return Math.min(Math.max(worst / REFERENCE_MS, 1), SLOWNESS_MAX);
  }

  /** The worst so far. */
  get worst() {
    return Math.min(Math.max(Math.max(0, ...this.samplesMs) / REFERENCE_MS, 1), SLOWNESS_MAX);
  }
}
