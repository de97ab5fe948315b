import { VortexError } from "./errors.ts";

/** Reads the fields of one value, in order, and never beyond its end. */
export class ByteReader {
  readonly #bytes: DataView;
  #position = 0;

  constructor(bytes: DataView) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.byteLength - this.#position;
  }

  u8(field: string): number {
    return this.#bytes.getUint8(this.#advance(1, field));
  }

  u32(field: string): number {
    return this.#bytes.getUint32(this.#advance(4, field));
  }

  u64(field: string): number {
    return safeInteger(this.#bytes.getBigUint64(this.#advance(8, field)), field);
  }

  i64(field: string): number {
    return safeInteger(this.#bytes.getBigInt64(this.#advance(8, field)), field);
  }

  /** A view, not a copy. */
  bytes(length: number, field: string): Uint8Array {
    const start = this.#bytes.byteOffset + this.#advance(length, field);
    return new Uint8Array(this.#bytes.buffer, start, length);
  }

  /** @param length in bytes; as it came from the wire */
  text(length: number, field: string): string {
    const start = this.#bytes.byteOffset + this.#advance(length, field);
    try {
      return UTF8.decode(new Uint8Array(this.#bytes.buffer, start, length));
    } catch (error) {
      throw new VortexError("ERR_TEXT", `Cannot decode ${field}: it is not UTF-8`, {
        cause: error,
      });
    }
  }

  #advance(length: number, field: string): number {
    if (length > this.remaining) {
      throw new VortexError(
        "ERR_VALUE",
        `Cannot decode ${field}: it has ${length} bytes, the value has ${this.remaining} more`,
      );
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}

/** A byte order mark is text like any other: what is decoded encodes to the same bytes. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** 64-bit fields become numbers; those that a number cannot hold exactly are refused, never rounded. */
function safeInteger(value: bigint, field: string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new VortexError("ERR_VALUE", `Cannot decode ${field}: ${value} is beyond 2^53 - 1`);
}
