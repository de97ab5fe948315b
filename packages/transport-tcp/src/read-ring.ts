/**
 * Bytes between a socket and a reader: a ring into which the socket reads, and of which the reader is lent views.
 * Nothing is copied.
 *
 * A room stays valid until the next one is asked for, whatever is taken meanwhile: the system may write into it at any
 * time.
 */
export class ReadRing {
  readonly #bytes: Uint8Array;
  /** The next byte to be taken. */
  #start = 0;
  #unreadLength = 0;
  /** Right before `#start`: the reader still looks at them. */
  #lentLength = 0;

  /** @param bytes is the ring's, for as long as anything is lent */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#bytes.byteLength;
  }

  get unreadLength(): number {
    return this.#unreadLength;
  }

  /** Bytes that can still come, in one room or two. */
  get freeLength(): number {
    return this.length - this.#unreadLength - this.#lentLength;
  }

  /** Where the next bytes go, as many as can lie in one row; empty: it is full. */
  room(lengthMax: number): Uint8Array {
    if (this.#unreadLength + this.#lentLength === 0) this.#start = 0;
    const end = (this.#start + this.#unreadLength) % this.length;
    const length = Math.min(this.freeLength, this.length - end, lengthMax);
    return this.#bytes.subarray(end, end + length);
  }

  /** The first `length` bytes of the last room have come. */
  commit(length: number): void {
    this.#unreadLength += length;
  }

  /** Lends the bytes that lie in one row, until the next call; empty: there are none. */
  take(): Uint8Array {
    const length = Math.min(this.#unreadLength, this.length - this.#start);
    const taken = this.#bytes.subarray(this.#start, this.#start + length);
    this.#start = (this.#start + length) % this.length;
    this.#unreadLength -= length;
    this.#lentLength = length;
    return taken;
  }
}
