/**
 * Whatever waits inside can be ended from outside: pulling content from a network that has gone silent, or waiting for a piece.
 * One registration a use, whatever the number of waits, so nothing piles up on a signal that lives long.
 */
export class Interrupter {
  readonly #rejects = new Set<(reason: unknown) => void>();
  #reason: { readonly value: unknown } | undefined;

  /** Every wait that runs, and every later one, rejects with `reason`. */
  interrupt(reason: unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = { value: reason };
    for (const reject of this.#rejects) reject(reason);
    this.#rejects.clear();
  }

  throwIfInterrupted(): void {
    // The reason is the caller's own, which may be anything, like that of an AbortSignal.
    // oxlint-disable-next-line typescript/only-throw-error
    if (this.#reason !== undefined) throw this.#reason.value;
  }

  /** The same as a signal, for work that takes one. Call the function when the work is done. */
  signal(): { readonly signal: AbortSignal; readonly release: () => void } {
    const controller = new AbortController();
    const abort = (reason: unknown): void => controller.abort(reason);
    if (this.#reason === undefined) this.#rejects.add(abort);
    else abort(this.#reason.value);
    return { signal: controller.signal, release: () => void this.#rejects.delete(abort) };
  }

  /** What `promise` comes to, unless interrupted first. A later rejection of `promise` is not reported anywhere. */
  wait<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#reason !== undefined) {
        promise.catch(() => undefined);
        reject(this.#reason.value);
        return;
      }
      this.#rejects.add(reject);
      promise.then(resolve, reject).finally(() => this.#rejects.delete(reject));
    });
  }

  /** The content, ending with the reason when interrupted. Its source is closed in every case, without waiting for one that hangs. */
  iterate<T>(content: AsyncIterable<T>): AsyncIterableIterator<T, undefined> {
    const onInterrupt = (reason: unknown): void => iterator.interrupt(reason);
    const iterator = new InterruptibleIterator(content, () => this.#rejects.delete(onInterrupt));
    if (this.#reason === undefined) this.#rejects.add(onInterrupt);
    else iterator.interrupt(this.#reason.value);
    return iterator;
  }
}

/** No generator: content comes in chunks of 16 KiB, 65,536 a GiB, and a generator's promises would cost as much as their digest. */
class InterruptibleIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: AsyncIterator<T, unknown>;
  readonly #onFinish: () => void;
  #reject: ((reason: unknown) => void) | undefined;
  #interrupted: { readonly reason: unknown } | undefined;
  #finished = false;

  constructor(content: AsyncIterable<T>, onFinish: () => void) {
    this.#source = content[Symbol.asyncIterator]();
    this.#onFinish = onFinish;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      if (this.#interrupted !== undefined) return reject(this.#interrupted.reason);
      if (this.#finished) return resolve({ done: true, value: undefined });
      this.#reject = reject;
      this.#source.next().then(
        (result) => {
          if (result.done !== true) return resolve(result);
          this.#finish();
          return resolve({ done: true, value: undefined });
        },
        (error: unknown) => {
          this.#finish();
          reject(error);
        },
      );
    });
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    if (!this.#finished) {
      this.#finish();
      await this.#close();
    }
    return { done: true, value: undefined };
  }

  interrupt(reason: unknown): void {
    this.#interrupted = { reason };
    this.#reject?.(reason);
    if (this.#finished) return;
    this.#finish();
    // A generator that hangs in its `next` settles its `return` only after that: nobody waits for it.
    void this.#close();
  }

  #finish(): void {
    this.#finished = true;
    this.#onFinish();
  }

  async #close(): Promise<void> {
    try {
      await this.#source.return?.();
    } catch {
      // Whoever stopped reading has his reason, and that is the one to tell.
    }
  }
}
