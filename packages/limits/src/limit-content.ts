import type { RateLimit } from "./rate-limit.ts";

const NOTHING = new Uint8Array(0);

type Result = IteratorResult<Uint8Array, undefined>;

export interface LimitContentOptions {
  /** Ends a wait; its reason is thrown then. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, when the content has ended, has failed or was left. */
  readonly onEnd?: (() => void) | undefined;
}

/**
 * The same content, no faster than the limit lets it. A chunk that may not go as a whole goes in parts, which are views of it; the next
 * one is asked for when all of it has gone. Leaving it ends a wait, and closes the content, read or not.
 *
 * No generator: without a limit a chunk costs nothing that could be measured.
 */
export function limitContent(
  content: AsyncIterable<Uint8Array>,
  limit: RateLimit,
  { signal, onEnd }: LimitContentOptions = {},
): AsyncIterableIterator<Uint8Array, undefined> {
  let source: AsyncIterator<Uint8Array, unknown> | undefined;
  const open = (): AsyncIterator<Uint8Array, unknown> =>
    (source ??= content[Symbol.asyncIterator]());
  const left = new AbortController();
  const stop = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  /** Of the last chunk, what has not gone yet. */
  let rest: Uint8Array = NOTHING;
  let isOver = false;

  const end = (): void => {
    if (isOver) return;
    isOver = true;
    rest = NOTHING;
    onEnd?.();
  };
  const pass = (length: number): Result => {
    const part = length === rest.byteLength ? rest : rest.subarray(0, length);
    rest = length === rest.byteLength ? NOTHING : rest.subarray(length);
    return { done: false, value: part };
  };
  const wait = async (taking: Promise<number>): Promise<Result> => {
    try {
      return pass(await taking);
    } catch (error) {
      end();
      await open().return?.();
      throw error;
    }
  };
  const go = (): Result | Promise<Result> => {
    const taken = limit.take(rest.byteLength, stop);
    return typeof taken === "number" ? pass(taken) : wait(taken);
  };
  const arrived = (result: IteratorResult<Uint8Array, unknown>): Result | Promise<Result> => {
    if (result.done === true) {
      end();
      return { done: true, value: undefined };
    }
    if (result.value.byteLength === 0) return { done: false, value: result.value };
    rest = result.value;
    return go();
  };
  const broke = (error: unknown): never => {
    end();
    throw error;
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (rest.byteLength > 0) return await go();
      return open().next().then(arrived, broke);
    },
    async return() {
      if (!isOver) left.abort(new Error("The content was left"));
      end();
      await open().return?.();
      return { done: true, value: undefined };
    },
  };
}
