import { VortexError } from "./errors.ts";
import { decodeHeader, HEADER_LENGTH, type Header } from "./header.ts";
import type { Packet } from "./packet.ts";
import { decodeValue } from "./codec.ts";

/** A packet and what came after it. */
export interface DecodedPacket {
  readonly packet: Packet;
  /**
   * The unread end of the pushed chunk, as a view into it. After a content packet the content begins here; after any
   * other, the next packet does: push it again.
   */
  readonly rest: Uint8Array;
}

/**
 * Cuts packets out of a byte stream, one at a time, wherever the stream is cut into chunks.
 *
 * Does no I/O and owns no timer. Holds one packet at most, and a value is given memory only after its length has been
 * found allowed for its tag: 64 KiB and a little.
 */
export class PacketDecoder {
  #bytes = new Uint8Array(HEADER_LENGTH);
  #filled = 0;
  #header: Header | undefined;

  /** False at the end of the stream means that the peer stopped inside a packet. */
  get atBoundary(): boolean {
    return this.#header === undefined && this.#filled === 0;
  }

  /**
   * Takes from `chunk` what belongs to the packet being read; `chunk` may be reused afterwards.
   *
   * @returns the packet as soon as it is complete; undefined: all of `chunk` is taken and more is needed
   * @throws {VortexError} if the bytes are no packet; the decoder is of no use from then on
   */
  push(chunk: Uint8Array): DecodedPacket | undefined {
    const rest = this.#fill(chunk);
    if (this.#header === undefined) {
      if (this.#filled < HEADER_LENGTH) return undefined;
      const header = decodeHeader(viewOf(this.#bytes));
      this.#header = header;
      this.#bytes = new Uint8Array(header.valueLength);
      this.#filled = 0;
      return this.push(rest);
    }
    if (this.#filled < this.#header.valueLength) return undefined;

    const packet = decodeValue(this.#header, viewOf(this.#bytes));
    this.#header = undefined;
    this.#bytes = new Uint8Array(HEADER_LENGTH);
    this.#filled = 0;
    return { packet, rest };
  }

  #fill(chunk: Uint8Array): Uint8Array {
    const taken = chunk.subarray(0, this.#bytes.byteLength - this.#filled);
    this.#bytes.set(taken, this.#filled);
    this.#filled += taken.byteLength;
    return chunk.subarray(taken.byteLength);
  }
}

/**
 * Decodes bytes that hold one packet and nothing else.
 *
 * @throws {VortexError}
 */
export function decodePacket(bytes: Uint8Array): Packet {
  const decoded = new PacketDecoder().push(bytes);
  if (decoded === undefined) {
    throw new VortexError(
      "ERR_TRUNCATED",
      `Cannot decode packet: it is incomplete after ${bytes.byteLength} bytes`,
    );
  }
  if (decoded.rest.byteLength > 0) {
    throw new VortexError(
      "ERR_SURPLUS",
      `Cannot decode packet: ${decoded.rest.byteLength} bytes follow its end`,
    );
  }
  return decoded.packet;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
