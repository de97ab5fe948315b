/**
 * Reads decisions out of an input: what to do next, how long, with which bytes. An input that has come to its end decides for 0, so
 * every input means something, and a shorter one means less: that is what lets any target's inputs be mutated and made smaller as bytes.
 */
export class Choices {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isOver(): boolean {
    return this.#position >= this.#bytes.byteLength;
  }

  byte(): number {
    return this.#bytes[this.#position++] ?? 0;
  }

  /** An integer from 0 to `count - 1`; one byte is read up to 256, two beyond. */
  below(count: number): number {
    if (count <= 1) return 0;
    return (count <= 256 ? this.byte() : this.u16()) % count;
  }

  pick<T>(among: readonly T[]): T {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the index is one of the list's
    return among[this.below(among.length)] as T;
  }

  u16(): number {
    return this.byte() * 256 + this.byte();
  }

  u32(): number {
    return this.u16() * 65_536 + this.u16();
  }

  /** As many bytes as a length of two bytes before them says, or as there are. */
  block(): Uint8Array {
    const length = this.u16();
    const block = this.#bytes.subarray(this.#position, this.#position + length);
    this.#position += length;
    return block;
  }

  rest(): Uint8Array {
    const rest = this.#bytes.subarray(this.#position);
    this.#position = this.#bytes.byteLength;
    return rest;
  }
}

/** Writes what `Choices` reads: examples are made with it. */
export class ChoiceWriter {
  readonly #parts: Uint8Array[] = [];

  byte(value: number): this {
    this.#parts.push(Uint8Array.of(value));
    return this;
  }

  u16(value: number): this {
    return this.byte(value >>> 8).byte(value);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  block(bytes: Uint8Array): this {
    this.u16(bytes.byteLength);
    this.#parts.push(bytes);
    return this;
  }

  rest(bytes: Uint8Array): Uint8Array {
    this.#parts.push(bytes);
    return this.finish();
  }

  finish(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.#parts));
  }
}
