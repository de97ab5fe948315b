/**
 * The rate over the last few seconds, so that it follows what happens without jumping at every piece. Bytes that were on disk
 * before are not part of it: count only what was transferred.
 */
export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly done: number }[];

  constructor(startedAtMs: number) {
    this.#samples = [{ atMs: startedAtMs, done: 0 }];
  }

  /** `done` bytes have been transferred at `nowMs`. Returns bytes per second over the window; 0 before any time has passed. */
  measure(nowMs: number, done: number): number {
    const samples = this.#samples;
    const last = samples.at(-1);
    if (last === undefined || nowMs - last.atMs >= SAMPLE_MS) samples.push({ atMs: nowMs, done });
    while ((samples[1]?.atMs ?? Infinity) <= nowMs - WINDOW_MS) samples.shift();
    const first = samples[0];
    if (first === undefined || nowMs <= first.atMs) return 0;
    return ((done - first.done) * 1000) / (nowMs - first.atMs);
  }
}

const WINDOW_MS = 5000;
/** With the window, the most samples kept: 51. */
const SAMPLE_MS = 100;
