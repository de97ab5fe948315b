import type { QuicStream } from "@damselfly/quic";
import { type ReadBuffers, READ_LENGTH } from "./read-buffers.ts";
import { toTransportError } from "./to-transport-error.ts";

/**
 * The content of a piece as it arrives, read straight into the buffer that is yielded. A chunk is valid until the
 * next one is asked for.
 *
 * @param first content that came with the announcement
 * @param length how much is announced; more is yielded if it comes, for the caller to see
 */
export async function* readChunks(
  stream: QuicStream,
  first: Uint8Array,
  { length, buffers, what }: { length: number; buffers: ReadBuffers; what: string },
): AsyncGenerator<Uint8Array, void, undefined> {
  const isSmall = length < READ_LENGTH / 4;
  const buffer = isSmall ? new Uint8Array(Math.max(length, first.byteLength) + 1) : buffers.take();
  buffer.set(first);
  let filled = first.byteLength;
  try {
    for (;;) {
      const room = buffer.subarray(filled);
      const received = await stream.read(room, room.byteLength);
      filled += received;
      if (filled > 0) yield buffer.subarray(0, filled);
      if (received === 0) break;
      filled = 0;
    }
  } catch (error) {
    throw toTransportError(error, what, "ERR_PIECE_TRUNCATED");
  }
  // Only a consumer that came back for more has let go of the last chunk: a piece that is given up half-way may
  // still be in a write to the disk.
  if (!isSmall) buffers.giveBack(buffer);
}
