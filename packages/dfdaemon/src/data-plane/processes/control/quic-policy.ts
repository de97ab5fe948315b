/** Ends older than this are forgotten. Milliseconds. */
const MEMORY_MS = 10 * 60_000;
/** So many ends in `MEMORY_MS`, and QUIC is left out: its libraries are the only native code that moves content. */
const END_COUNT = 3;

/**
 * Whether the data-plane processes of a daemon do without QUIC. Their ends count together: a piece that ends one process is asked for again
 * in the next.
 */
export class QuicPolicy {
  readonly #onLeftOut: (endCount: number) => void;
  #endsMs: number[] = [];
  #isLeftOut = false;

  /** @param onLeftOut called once: from now on it is left out, until the daemon is started anew */
  constructor(onLeftOut: (endCount: number) => void) {
    this.#onLeftOut = onLeftOut;
  }

  get isLeftOut(): boolean {
    return this.#isLeftOut;
  }

  /** One of them has ended. */
  ended(nowMs: number): void {
    this.#endsMs = [...this.#endsMs.filter((atMs) => nowMs - atMs < MEMORY_MS), nowMs];
    if (this.#isLeftOut || this.#endsMs.length < END_COUNT) return;
    this.#isLeftOut = true;
    this.#onLeftOut(this.#endsMs.length);
  }
}
