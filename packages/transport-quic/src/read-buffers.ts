/** Bytes handed to the consumer at once. Fewer, larger writes to the disk; a few of them bound the memory of a piece. */
export const READ_LENGTH: number = 256 * 1024;

/** Spare buffers kept, for the pieces that usually run at once. 8 MiB. */
const SPARE_COUNT_MAX = 32;

/** Read buffers to be used again, so that a steady stream of pieces allocates none. */
export class ReadBuffers {
  readonly #spare: Uint8Array[] = [];

  take(): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(READ_LENGTH);
  }

  /** Only of a buffer that nobody looks at any more. */
  giveBack(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE_COUNT_MAX) this.#spare.push(buffer);
  }
}
