import { RecentEnds } from "./recent-ends.ts";

/** So many recent ends, and QUIC is left out: its libraries are the only native code that moves content. */
const END_COUNT = 3;

/**
 * Whether the data-plane processes of a daemon do without QUIC. Their ends count together: a piece that ends one process is asked for again
 * in the next.
 */
export class QuicPolicy {
  readonly #onLeftOut: (endCount: number) => void;
  readonly #ends = new RecentEnds();
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
    const endCount = this.#ends.add(nowMs);
    if (this.#isLeftOut || endCount < END_COUNT) return;
    this.#isLeftOut = true;
    this.#onLeftOut(endCount);
  }
}
