/**
 * What DATAGRAM frames (RFC 9221) carry between two engines, and nothing else does:
 *
 *     offset  size  field
 *          0     1  1: a probe, 2: the answer to one
 *          1     4  id, big-endian: whatever the probing side chose
 *          5     2  in an answer: the length of the probe's frame content, big-endian
 *          5     *  in a probe: anything, as long as the packet is to become
 *
 * Content that is not of this form is ignored.
 */
export type LengthMessage =
  | { readonly kind: "probe"; readonly id: number; readonly length: number }
  | { readonly kind: "answer"; readonly id: number; readonly length: number };

const PROBE = 1;
const ANSWER = 2;
const PROBE_LENGTH_MIN = 5;
const ANSWER_LENGTH = 7;

/**
 * What surrounds a frame's content in a packet of its own, in bytes: first byte, connection id (16), packet number (1
 * to 4), the frame's type and length (3), seal (16).
 */
export const PROBE_OVERHEAD_MIN = 37;
export const PROBE_OVERHEAD_MAX = 40;

export function encodeProbe(id: number, length: number): Uint8Array {
  const bytes = Buffer.alloc(length);
  bytes[0] = PROBE;
  bytes.writeUInt32BE(id, 1);
  return bytes;
}

export function encodeAnswer({
  id,
  length,
}: {
  readonly id: number;
  readonly length: number;
}): Uint8Array {
  const bytes = Buffer.alloc(ANSWER_LENGTH);
  bytes[0] = ANSWER;
  bytes.writeUInt32BE(id, 1);
  bytes.writeUInt16BE(length, 5);
  return bytes;
}

export function decodeLengthMessage(content: Uint8Array): LengthMessage | undefined {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const { byteLength } = content;
  if (content[0] === PROBE && byteLength >= PROBE_LENGTH_MIN) {
    return { kind: "probe", id: view.getUint32(1), length: byteLength };
  }
  if (content[0] === ANSWER && byteLength === ANSWER_LENGTH) {
    return { kind: "answer", id: view.getUint32(1), length: view.getUint16(5) };
  }
  return undefined;
}
