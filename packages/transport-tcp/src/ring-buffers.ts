import { RING_LENGTH_MIN } from "./content-inbox.ts";

/** Content of one piece that has come and has not been read, at most, while few run. */
const RING_LENGTH = 1024 * 1024;
/** While so many have that much, others get `RING_LENGTH_MIN`. */
const LONG_COUNT_MAX = 64;
/** Kept for later: for the pieces that usually run at once. */
const SPARE_COUNT_MAX = 16;

/** Memory for content on its way, used again so that a steady stream of pieces allocates none. */
export class RingBuffers {
  readonly #spare: Uint8Array[] = [];
  #longCount = 0;

  /**
   * @param length of the content, in bytes
   * @returns the memory, and what gives it back, once; `isFree`: nobody looks at it any more
   */
  take(length: number): {
    readonly buffer: Uint8Array;
    readonly giveBack: (isFree: boolean) => void;
  } {
    if (length <= RING_LENGTH_MIN || this.#longCount >= LONG_COUNT_MAX) {
      const shortLength = Math.max(1, Math.min(length, RING_LENGTH_MIN));
      return { buffer: Buffer.allocUnsafeSlow(shortLength), giveBack: () => {} };
    }
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(RING_LENGTH);
    this.#longCount += 1;
    return {
      buffer,
      giveBack: (isFree) => {
        this.#longCount -= 1;
        if (isFree && this.#spare.length < SPARE_COUNT_MAX) this.#spare.push(buffer);
      },
    };
  }
}
