import type { QuicStream } from "@damselfly/quic";

/**
 * Content as it arrives, read straight into `buffer`, views of which are yielded. A chunk is valid until the next one
 * is asked for.
 *
 * @param first content that came with the announcement; shorter than the buffer
 * @throws {QuicError}
 */
export async function* readChunks(
  stream: QuicStream,
  first: Uint8Array,
  buffer: Uint8Array,
): AsyncGenerator<Uint8Array, void, undefined> {
  buffer.set(first);
  let filled = first.byteLength;
  for (;;) {
    const room = buffer.subarray(filled);
    const received = await stream.read(room, room.byteLength);
    filled += received;
    if (filled > 0) yield buffer.subarray(0, filled);
    if (received === 0) return;
    filled = 0;
  }
}
