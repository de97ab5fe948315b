/** How often it is looked whether anything was heard. Milliseconds. */
const TICK_MS = 100;

/**
 * Notices that a process has fallen silent. What counts is how often this process looked in vain, not the clock: when the whole machine
 * stands still, or this process does, nobody can be blamed for saying nothing.
 */
export class HeartbeatWatch {
  readonly #tickCountMax: number;
  readonly #onSilence: () => void;
  readonly #timer: NodeJS.Timeout;
  #tickCount = 0;

  /**
   * @param options.silenceMs this long without a beat is silence, in milliseconds
   * @param options.onSilence called once, then nothing more
   */
  constructor(options: { readonly silenceMs: number; readonly onSilence: () => void }) {
    this.#tickCountMax = Math.ceil(options.silenceMs / TICK_MS);
    this.#onSilence = options.onSilence;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** It lives. */
  beat(): void {
    this.#tickCount = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    this.#tickCount += 1;
    if (this.#tickCount < this.#tickCountMax) return;
    this.stop();
    this.#onSilence();
  }
}
