/**
 * Writes the fields of something whose length is known beforehand.
 *
 * Every method throws a `RangeError` for a number that its field cannot hold.
 */
export class ByteWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(length: number) {
    this.#bytes = new Uint8Array(length);
    this.#view = new DataView(this.#bytes.buffer);
  }

  u8(value: number, field: string): this {
    assertWithin(value, { min: 0, max: 0xff, field });
    this.#view.setUint8(this.#advance(1), value);
    return this;
  }

  u32(value: number, field: string): this {
    assertWithin(value, { min: 0, max: 0xffff_ffff, field });
    this.#view.setUint32(this.#advance(4), value);
    return this;
  }

  u64(value: number, field: string): this {
    assertWithin(value, { min: 0, max: Number.MAX_SAFE_INTEGER, field });
    this.#view.setBigUint64(this.#advance(8), BigInt(value));
    return this;
  }

  i64(value: number, field: string): this {
    assertWithin(value, { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER, field });
    this.#view.setBigInt64(this.#advance(8), BigInt(value));
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#bytes.set(value, this.#advance(value.byteLength));
    return this;
  }

  /** What was written, filled to its end. */
  finish(): Uint8Array {
    if (this.#position !== this.#bytes.byteLength) {
      throw new RangeError(
        `Cannot finish: ${this.#position} of ${this.#bytes.byteLength} bytes are written`,
      );
    }
    return this.#bytes;
  }

  #advance(length: number): number {
    const start = this.#position;
    this.#position += length;
    return start;
  }
}

function assertWithin(
  value: number,
  { min, max, field }: { readonly min: number; readonly max: number; readonly field: string },
): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`Cannot encode ${field}: it is ${value}, expected ${min} to ${max}`);
}
