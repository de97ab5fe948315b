import type { Dispatcher } from "undici";
import type { OriginAnswer } from "./origin-error.ts";
import { releaseChunk } from "./read-in-large-steps.ts";
import type { Header } from "./request-header.ts";
import { reasonOf, responseHeaderOf } from "./response-header.ts";
import type {
  AnswerListener,
  WatchedConnection,
  WatchedDispatchOptions,
} from "./watched-client.ts";

export interface ExchangeRequest {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  readonly path: string;
  readonly method: "GET" | "HEAD";
  readonly header: Header;
  /** From when the request is sent to when the answer's header is complete. */
  readonly headersMs: number;
  /** Between two arrivals of body bytes, not counting the time in which nobody wanted any. */
  readonly stallMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body has not been read. Close it, or read it to its end. */
export interface Answer extends OriginAnswer {
  /**
   * The next bytes as they came from the socket, or undefined at the end. One call at a time; it ends what the caller may do with the
   * bytes of the last one. Fails with undici's errors.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Lets a short rest of the body run out, so that the connection can be used again, and cuts a long one off. */
  discard(): void;
  /** Cuts the body off, and the connection with it, unless it has ended. */
  close(): void;
}

/** Bytes held for a reader that is slower than the network; above this the connection is not read. */
const BUFFERED_BYTES_MAX = 256 * 1024;
/** A rest of this many bytes is cheaper to read than a new connection. */
const DISCARDED_BYTES_MAX = 64 * 1024;

/**
 * Sends one request; resolves with the answer's header. Redirects and failures are the caller's.
 *
 * @throws what undici throws; the signal's reason, when it aborts
 */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const { dispatcher, origin, path, method, header, headersMs, stallMs, signal } = request;
  signal?.throwIfAborted();
  const reader = new AnswerReader(signal);
  const options: WatchedDispatchOptions = {
    answerListener: reader,
    origin,
    path,
    method,
    headers: { ...header },
    headersTimeout: headersMs,
    bodyTimeout: stallMs,
  };
  try {
    dispatcher.dispatch(options, reader);
  } catch (error) {
    reader.fail(error); // some of undici's dispatchers throw what others report
  }
  return await reader.answered;
}

/**
 * Turns undici's callbacks into something to pull from. States: sent → answered → ended or failed, whatever comes first; `discard` lets
 * it end by itself. Chunks are kept as they come (each a view of what was read from the socket), never copied.
 */
class AnswerReader implements Dispatcher.DispatchHandler, AnswerListener, Answer {
  statusCode = 0;
  reason = "";
  responseHeader: Header = {};
  readonly answered: Promise<Answer>;
  readonly #signal: AbortSignal | undefined;
  #answer: (answer: Answer) => void = () => {};
  #refuse: (error: unknown) => void = () => {};
  #connection: WatchedConnection | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** The connection has ended: what is left of it may not be held back. */
  #mustTakeAll = false;
  #chunks: Uint8Array[] = [];
  /** The reader's, until it asks for more. */
  #lent: Uint8Array | undefined;
  #bufferedBytes = 0;
  #discarding = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.answered = new Promise<Answer>((resolve, reject) => {
      this.#answer = resolve;
      this.#refuse = reject;
    });
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  async read(): Promise<Uint8Array | undefined> {
    if (this.#lent !== undefined) releaseChunk(this.#lent);
    this.#lent = undefined;
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bufferedBytes -= chunk.byteLength;
        const goesOn = !this.#ended && this.#failure === undefined;
        if (this.#bufferedBytes < BUFFERED_BYTES_MAX && goesOn) this.#controller?.resume();
        this.#lent = chunk;
        return chunk;
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  discard(): void {
    this.#discarding = true;
    this.#chunks = [];
    if (this.#bufferedBytes > DISCARDED_BYTES_MAX) this.close();
    else this.#controller?.resume();
  }

  close(): void {
    if (!this.#ended) this.fail(new Error("Cannot go on reading: the answer has been closed"));
  }

  onClient(connection: WatchedConnection): void {
    this.#connection = connection;
  }

  onConnectionEnd(): void {
    this.#mustTakeAll = true;
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#connection?.readBy(this);
    if (this.#failure !== undefined) controller.abort(asError(this.#failure.error));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Record<string, string | string[] | undefined>,
    statusMessage?: string,
  ): void {
    if (statusCode < 200) return;
    this.statusCode = statusCode;
    this.reason = reasonOf(statusCode, statusMessage);
    this.responseHeader = responseHeaderOf(headers);
    this.#answer(this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    // The parser hands on empty chunks, too; consumers are promised none.
    if (chunk.byteLength === 0) return;
    this.#bufferedBytes += chunk.byteLength;
    if (this.#discarding) {
      if (this.#bufferedBytes > DISCARDED_BYTES_MAX) this.close();
      return;
    }
    const last = this.#chunks.at(-1);
    if (last !== undefined && isContinued(last, chunk)) {
      // TLS hands on its records one by one, of 16 KiB at most, though they lie one after the other.
      const { buffer, byteOffset } = last;
      const length = last.byteLength + chunk.byteLength;
      this.#chunks[this.#chunks.length - 1] = new Uint8Array(buffer, byteOffset, length);
    } else {
      this.#chunks.push(chunk);
    }
    if (this.#bufferedBytes >= BUFFERED_BYTES_MAX && !this.#mustTakeAll) controller.pause();
    this.#wake?.();
  }

  onResponseEnd(): void {
    this.#ended = true;
    this.#finish();
  }

  /** What came before is read first: how much it was is part of what there is to say. */
  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#failWith(error);
  }

  readonly #onAbort = (): void => this.fail(this.#signal?.reason);

  /** At once: what has come and was not read is dropped. */
  fail(error: unknown): void {
    this.#failWith(error);
    if (this.#failure !== undefined) this.#chunks = [];
  }

  #failWith(error: unknown): void {
    if (this.#failure !== undefined || this.#ended) return;
    this.#failure = { error };
    this.#refuse(error);
    this.#finish();
    this.#controller?.abort(asError(error));
  }

  #finish(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#wake?.();
  }
}

/** Whether one begins in memory where the other ends. */
function isContinued(left: Uint8Array, right: Uint8Array): boolean {
  return left.buffer === right.buffer && left.byteOffset + left.byteLength === right.byteOffset;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
