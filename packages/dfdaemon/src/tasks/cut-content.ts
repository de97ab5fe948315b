/** One stream, handed out in consecutive slices. Dispose it to close the stream. */
export interface CutContent extends AsyncDisposable {
  /**
   * The next `length` bytes, or fewer if the stream ends first. Read it to its end before asking for the next; what a consumer leaves
   * behind can be read by iterating it again. Chunks are views, valid until the next is pulled.
   */
  next(length: number): AsyncIterable<Uint8Array>;
}

/** Cuts a stream without copying: a chunk that spans a border is yielded as two views. */
export function cutContent(content: AsyncIterable<Uint8Array>): CutContent {
  const source = content[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    next(length) {
      let remaining = length;
      // Not a generator kept across loops: leaving the loop must not close the stream, only pause it.
      return {
        [Symbol.asyncIterator]: () => ({
          async next() {
            if (remaining === 0) return { done: true, value: undefined };
            while (rest.byteLength === 0) {
              const result = await source.next();
              if (result.done === true) return { done: true, value: undefined };
              rest = result.value;
            }
            const value = rest.subarray(0, remaining);
            rest = rest.subarray(value.byteLength);
            remaining -= value.byteLength;
            return { done: false, value };
          },
        }),
      };
    },
    async [Symbol.asyncDispose]() {
      await source.return?.();
    },
  };
}
