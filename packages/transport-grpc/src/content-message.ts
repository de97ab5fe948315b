import type { DownloadPieceResponse } from "@damselfly/rpc";

/** Content bytes a message, at most. Between 64 KiB and 1 MiB it made no difference (measured memory to memory). */
export const CONTENT_LENGTH_MAX = 262_144;

/** Content goes its own way, anything else that of protobufjs. */
export function serializeResponse(
  response: DownloadPieceResponse,
  serialize: (response: DownloadPieceResponse) => Buffer,
): Buffer {
  const { content } = response;
  if (content === undefined) return serialize(response);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of a Buffer, grpc-js uses these two members
  return new ContentMessage(content) as unknown as Buffer;
}

/**
 * A DownloadPieceResponse with content:
 *
 *     offset  length  field
 *          0       1  0x12: field 2, length-delimited
 *          1     1-5  content length, varint
 *        2-6       …  content
 *
 * grpc-js 1.14 asks a serialized message for its length and has it copied behind its five-byte prefix. Handing it this
 * in place of bytes makes that the only copy of the content, where protobufjs makes one of its own first.
 */
class ContentMessage implements Pick<Buffer, "byteLength" | "copy"> {
  readonly byteLength: number;
  readonly #content: Uint8Array;

  constructor(content: Uint8Array) {
    this.#content = content;
    this.byteLength = 1 + varintLength(content.byteLength) + content.byteLength;
  }

  copy(target: Uint8Array, targetStart: number = 0): number {
    const { byteLength } = this.#content;
    target[targetStart] = CONTENT_TAG;
    const contentStart = writeVarint(target, targetStart + 1, byteLength);
    target.set(this.#content, contentStart);
    return this.byteLength;
  }
}

const CONTENT_TAG = 0x12;

/** Seven bits a byte, the lowest first; a byte that is not the last has its highest bit set. */
function writeVarint(target: Uint8Array, start: number, value: number): number {
  let position = start;
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) {
    target[position] = (rest & 0x7f) | 0x80;
    position += 1;
  }
  target[position] = rest;
  return position + 1;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) length += 1;
  return length;
}
