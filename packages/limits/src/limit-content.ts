import type { RateLimit } from "./rate-limit.ts";

const NOTHING = new Uint8Array(0);

/**
 * The same content, no faster than the limit lets it. A chunk that may not go as a whole goes in parts, which are views of it; the next
 * one is asked for when all of it has gone. Leaving it, or the signal, ends a wait.
 *
 * No generator: without a limit a chunk costs nothing that could be measured.
 */
export function limitContent(
  content: AsyncIterable<Uint8Array>,
  limit: RateLimit,
  signal?: AbortSignal,
): AsyncIterableIterator<Uint8Array, undefined> {
  let source: AsyncIterator<Uint8Array, unknown> | undefined;
  const open = (): AsyncIterator<Uint8Array, unknown> =>
    (source ??= content[Symbol.asyncIterator]());
  const left = new AbortController();
  const stop = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  /** Of the last chunk, what has not gone yet. */
  let rest: Uint8Array = NOTHING;

  const pass = (length: number): IteratorResult<Uint8Array, undefined> => {
    const part = length === rest.byteLength ? rest : rest.subarray(0, length);
    rest = length === rest.byteLength ? NOTHING : rest.subarray(length);
    return { done: false, value: part };
  };
  const go = ():
    | IteratorResult<Uint8Array, undefined>
    | Promise<IteratorResult<Uint8Array, undefined>> => {
    const taken = limit.take(rest.byteLength, stop);
    return typeof taken === "number" ? pass(taken) : taken.then(pass);
  };
  const arrived = (
    result: IteratorResult<Uint8Array, unknown>,
  ): IteratorResult<Uint8Array, undefined> | Promise<IteratorResult<Uint8Array, undefined>> => {
    if (result.done === true) return { done: true, value: undefined };
    if (result.value.byteLength === 0) return { done: false, value: result.value };
    rest = result.value;
    return go();
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (rest.byteLength > 0) return await go();
      return arrived(await open().next());
    },
    async return() {
      left.abort(new Error("The content was left"));
      rest = NOTHING;
      await open().return?.();
      return { done: true, value: undefined };
    },
  };
}
