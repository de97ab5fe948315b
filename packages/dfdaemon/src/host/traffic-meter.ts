/** Rates are means over this long. */
const WINDOW_MS = 2_000;

/** What this daemon moves at this moment, in bits a second, as Dragonfly's Network message counts it. */
export interface TrafficRates {
  readonly rxBitsPerSecond: number;
  readonly txBitsPerSecond: number;
}

/** Counts content bytes in and out, and says how fast they went of late. */
export class TrafficMeter {
  readonly #now: () => number;
  readonly #marks: { readonly atMs: number; readonly rx: number; readonly tx: number }[] = [];
  #rx = 0;
  #tx = 0;

  constructor(options: { readonly now?: () => number } = {}) {
    this.#now = options.now ?? Date.now;
    this.#marks.push({ atMs: this.#now(), rx: 0, tx: 0 });
  }

  received(length: number): void {
    this.#rx += length;
  }

  sent(length: number): void {
    this.#tx += length;
  }

  rates(): TrafficRates {
    const now = this.#now();
    this.#marks.push({ atMs: now, rx: this.#rx, tx: this.#tx });
    while (this.#marks.length > 2 && now - this.#marks[1]!.atMs >= WINDOW_MS) this.#marks.shift();
    const first = this.#marks[0]!;
    const seconds = Math.max(now - first.atMs, 1) / 1000;
    return {
      rxBitsPerSecond: Math.round(((this.#rx - first.rx) * 8) / seconds),
      txBitsPerSecond: Math.round(((this.#tx - first.tx) * 8) / seconds),
    };
  }
}
