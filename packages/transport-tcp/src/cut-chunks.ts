import type { ByteRange } from "@damselfly/transport";

/**
 * Of the content of a whole piece what lies within the range; ends with it. Chunks are views of those that come; empty
 * ones say that something came, which is no silence.
 */
export async function* cutChunks(
  chunks: AsyncIterable<Uint8Array>,
  range: ByteRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  const end = range.offset + range.length;
  let position = 0;
  for await (const chunk of chunks) {
    const cut = chunk.subarray(Math.max(0, range.offset - position), end - position);
    position += chunk.byteLength;
    yield cut;
    if (position >= end) return;
  }
}
