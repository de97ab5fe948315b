/**
 * The same content; `count` hears of each chunk's length before it is passed on. Closing it closes the content, read or not.
 *
 * No generator: this is passed 65,536 times a GiB, and a generator's promises would cost as much as a digest.
 */
export function countBytes(
  content: AsyncIterable<Uint8Array>,
  count: (length: number) => void,
): AsyncIterableIterator<Uint8Array, undefined> {
  let source: AsyncIterator<Uint8Array, unknown> | undefined;
  const open = (): AsyncIterator<Uint8Array, unknown> =>
    (source ??= content[Symbol.asyncIterator]());
  const pass = (
    result: IteratorResult<Uint8Array, unknown>,
  ): IteratorResult<Uint8Array, undefined> => {
    if (result.done === true) return { done: true, value: undefined };
    count(result.value.byteLength);
    return result;
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => open().next().then(pass),
    async return() {
      await open().return?.();
      return { done: true, value: undefined };
    },
  };
}
