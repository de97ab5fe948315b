import type { Answer } from "./exchange.ts";
import { isCutShort, originFailure, type FailureContext } from "./origin-failure.ts";
import { OriginError } from "./origin-error.ts";
import type { OriginBody, OriginStat } from "./origin.ts";

export interface OriginBodyOptions {
  readonly answer: Answer;
  readonly stat: OriginStat;
  /** Exactly how many bytes there must be; undefined when nobody knows. */
  readonly length: number | undefined;
  readonly context: FailureContext;
  readonly signal: AbortSignal | undefined;
}

/** A body whose length is checked as it is read. Closing it early cuts the connection. */
export function openOriginBody(options: OriginBodyOptions): OriginBody {
  const { answer, stat } = options;
  return {
    stat,
    content: new OriginContent(options),
    async [Symbol.asyncDispose]() {
      answer.close();
    },
  };
}

/** Not a generator: one that waits for bytes could not be closed from outside. */
class OriginContent implements AsyncIterableIterator<Uint8Array> {
  readonly #options: OriginBodyOptions;
  #received = 0;
  #done = false;

  constructor(options: OriginBodyOptions) {
    this.#options = options;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#done) return { done: true, value: undefined };
    try {
      const chunk = await this.#options.answer.read();
      if (chunk === undefined) {
        this.#assertComplete();
        return this.return();
      }
      this.#received += chunk.byteLength;
      this.#assertWithin();
      return { done: false, value: chunk };
    } catch (error) {
      this.#done = true;
      this.#options.answer.close();
      throw this.#failure(error);
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#done = true;
    this.#options.answer.close();
    return { done: true, value: undefined };
  }

  #assertWithin(): void {
    const { length, context } = this.#options;
    if (length === undefined || this.#received <= length) return;
    throw new OriginError(
      "ERR_ORIGIN_OVERLONG",
      `Cannot ${context.action}: the body goes on past the ${length} bytes announced`,
      { at: context.at },
    );
  }

  #assertComplete(): void {
    const { length } = this.#options;
    if (length !== undefined && this.#received < length) throw this.#truncated();
  }

  #truncated(cause?: unknown): OriginError {
    const { length, context } = this.#options;
    const of = length === undefined ? "" : ` of ${length}`;
    const message = `Cannot ${context.action}: the body ended after ${this.#received}${of} bytes`;
    const { at } = context;
    return new OriginError("ERR_ORIGIN_TRUNCATED", message, { ...(cause ? { cause } : {}), at });
  }

  #failure(error: unknown): unknown {
    const { context, signal } = this.#options;
    const failure = originFailure(error, context, signal);
    return failure !== error && isCutShort(error) ? this.#truncated(error) : failure;
  }
}
