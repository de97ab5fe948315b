/** The same content; `count` hears of each chunk's length before it is passed on. */
export async function* countBytes(
  content: AsyncIterable<Uint8Array>,
  count: (length: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of content) {
    count(chunk.byteLength);
    yield chunk;
  }
}
