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
  async *iterate<T>(content: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const iterator = content[Symbol.asyncIterator]();
    let finished = false;
    let waiting = false;
    try {
      for (;;) {
        waiting = true;
        const result = await this.wait(iterator.next());
        waiting = false;
        if (result.done === true) {
          finished = true;
          return;
        }
        yield result.value;
      }
    } catch (error) {
      // Thrown by `next()` itself: the iterator has ended already. Interrupted: it has not.
      finished = waiting && this.#reason === undefined;
      throw error;
    } finally {
      if (!finished) {
        const closing = Promise.resolve(iterator.return?.()).catch(() => undefined);
        // A generator that hangs in its `next` settles its `return` only after that.
        if (this.#reason === undefined) await closing;
      }
    }
  }
}
