import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import { RpcError } from "./rpc-error.ts";

/**
 * The calling side of a call on which both sides send. Iterate it for the replies, once; it ends when the server ends
 * the call and throws `RpcError` when that was not well. Disposing cancels.
 */
export interface RpcDuplex<Request, Response> extends AsyncDisposable, AsyncIterable<Response> {
  /**
   * Sends a message; resolves when the next one may be sent.
   *
   * @throws {RpcError} when the call has ended, with the status it ended with (OK: the server wanted no more)
   */
  write(message: Request): Promise<void>;
  /** Says that no more is coming. Replies may still arrive. */
  end(): void;
  /** Ends the call at once; idempotent. */
  cancel(): void;
}

/** Wraps a grpc-js stream; `signal` cancels the call and becomes what iteration and `write` throw. */
export function createDuplex<Request, Response>(
  call: ClientDuplexStream<Request, Response>,
  options: {
    readonly target: string;
    readonly method: string;
    readonly signal: AbortSignal | undefined;
  },
): RpcDuplex<Request, Response> {
  return new Duplex(call, options);
}

class Duplex<Request, Response> implements RpcDuplex<Request, Response> {
  readonly #call: ClientDuplexStream<Request, Response>;
  readonly #context: { readonly target: string; readonly method: string };
  readonly #signal: AbortSignal | undefined;
  readonly #ended: Promise<void>;
  #status: StatusObject | undefined;

  constructor(
    call: ClientDuplexStream<Request, Response>,
    options: {
      readonly target: string;
      readonly method: string;
      readonly signal: AbortSignal | undefined;
    },
  ) {
    this.#call = call;
    this.#context = { target: options.target, method: options.method };
    this.#signal = options.signal;
    const onAbort = (): void => call.cancel();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    this.#ended = new Promise((resolve) => {
      call.once("status", (status: StatusObject) => {
        this.#status = status;
        options.signal?.removeEventListener("abort", onAbort);
        resolve();
      });
    });
    call.on("error", () => {}); // comes with the status, which write and iteration report
  }

  async write(message: Request): Promise<void> {
    this.#throwIfEnded();
    if (this.#call.write(message)) return;
    let onDrain: (() => void) | undefined;
    const drained = new Promise<void>((resolve) => {
      onDrain = resolve;
      this.#call.once("drain", resolve);
    });
    await Promise.race([drained, this.#ended]);
    if (onDrain !== undefined) this.#call.off("drain", onDrain);
    this.#throwIfEnded();
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Response, void, undefined> {
    try {
      const messages: AsyncIterable<Response> = this.#call;
      yield* messages;
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw RpcError.from(error, this.#context);
    } finally {
      this.#call.cancel();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#call.cancel();
    await this.#ended;
  }

  #throwIfEnded(): void {
    if (this.#status === undefined) return;
    this.#signal?.throwIfAborted();
    const { code, details, metadata } = this.#status;
    const error = Object.assign(new Error(details), { code, details, metadata });
    throw RpcError.from(error, this.#context);
  }
}
