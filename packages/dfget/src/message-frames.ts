/**
 * What stands in front of every message of a gRPC call (gRPC over HTTP/2, "Length-Prefixed-Message"):
 *
 *     offset  size  field
 *          0     1  1: compressed
 *          1     4  length of the message in bytes, big-endian
 */
const PREFIX_LENGTH = 5;

/** A message as it goes into the call. */
export function frameMessage(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(PREFIX_LENGTH + message.byteLength);
  new DataView(frame.buffer).setUint32(1, message.byteLength);
  frame.set(message, PREFIX_LENGTH);
  return frame;
}

/**
 * The messages of a call, whole, however its bytes are cut. Memory is taken for bytes that have come, never for what a prefix says.
 *
 * @throws {RangeError} for a compressed message, since nobody asked for one, and if the bytes end in the middle of one
 */
export async function* readMessages(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array[] = [];
  let heldLength = 0;
  let wanted = PREFIX_LENGTH;
  for await (const chunk of chunks) {
    held.push(chunk);
    heldLength += chunk.byteLength;
    if (heldLength < wanted) continue;
    let rest = held.length === 1 ? chunk : Buffer.concat(held);
    for (;;) {
      wanted = frameLength(rest);
      if (rest.byteLength < wanted) break;
      yield rest.subarray(PREFIX_LENGTH, wanted);
      rest = rest.subarray(wanted);
    }
    held = rest.byteLength === 0 ? [] : [rest];
    heldLength = rest.byteLength;
  }
  if (heldLength > 0) throw new RangeError(`the answer ends in the middle of a message`);
}

/** Of the first frame, prefix included; without a whole prefix, that of a prefix. */
function frameLength(bytes: Uint8Array): number {
  if (bytes.byteLength < PREFIX_LENGTH) return PREFIX_LENGTH;
  if (bytes[0] !== 0) throw new RangeError("a message is compressed, expected none to be");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return PREFIX_LENGTH + view.getUint32(1);
}
