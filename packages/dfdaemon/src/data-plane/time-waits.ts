import { LOOK_MS, Progress } from "./relay/progress.ts";

/** Longer between two looks is this process's own fault. Milliseconds. */
const LOOK_MS_MAX = 2 * LOOK_MS;

/**
 * The same content; `waited` hears, several times a second while that is so, for how long whoever takes it has waited for bytes since the
 * last time. Milliseconds. Closing it closes the content.
 *
 * @param now milliseconds on a clock that never goes back
 */
export function timeWaits(
  content: AsyncIterable<Uint8Array>,
  waited: (ms: number) => void,
  now: () => number = () => performance.now(),
): AsyncIterableIterator<Uint8Array, undefined> {
  const source = content[Symbol.asyncIterator]();
  const progress = new Progress(now);
  let toldMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const tell = (): void => {
    const newMs = progress.waitedMs - toldMs;
    if (newMs < 1) return;
    toldMs += newMs;
    // What counts is how often it was looked in vain.
    waited(Math.min(newMs, LOOK_MS_MAX));
  };
  const end = (): void => {
    clearInterval(timer);
    tell();
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next() {
      timer ??= setInterval(tell, LOOK_MS).unref();
      progress.waits();
      return source.next().then(
        (result) => {
          progress.arrived(result.done === true ? 0 : result.value.byteLength);
          if (result.done !== true) return result;
          end();
          return { done: true, value: undefined };
        },
        (error: unknown) => {
          end();
          throw error;
        },
      );
    },
    async return() {
      end();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}
