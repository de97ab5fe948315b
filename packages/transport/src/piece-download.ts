import { TransportError } from "./errors.ts";
import type { PieceDownload, PieceInfo } from "./transport.ts";

/** What a transport knows about a piece when it has been announced. */
export interface PieceDownloadInit {
  readonly piece: PieceInfo;
  /** How many bytes of it were asked for; default is all. */
  readonly length?: number | undefined;
  /** Who sends it, for messages. */
  readonly hostId: string;
  /**
   * The content as it arrives, in chunks of any length. Its length is checked here. A pull that waits must end
   * when `close` is called, or at least hold nothing.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Longest wait for the next chunk, in milliseconds; the consumer's own time does not count. */
  readonly stallMs: number;
  /** Ends the download at any time; the content then throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Frees what lies behind the content; called once. When it did not arrive in full, the transport has to cancel at
   * the parent, and `failure` holds why.
   */
  close(failure?: { readonly reason: unknown }): void | Promise<void>;
}

/**
 * The promises of `PieceDownload` over a bare stream of chunks: exact length, stall bound, cancellation at any
 * moment, and one `close` whichever way it ends.
 */
export function createPieceDownload(init: PieceDownloadInit): PieceDownload {
  return new ArrivingPiece(init);
}

type Failure = { readonly reason: unknown };

class ArrivingPiece implements PieceDownload, AsyncIterator<Uint8Array> {
  readonly piece: PieceInfo;
  readonly content: AsyncIterable<Uint8Array>;
  readonly #init: PieceDownloadInit;
  #pulls: AsyncIterator<Uint8Array> | undefined;
  /** Ends the pull that waits, if one does. */
  #giveUp: ((reason: unknown) => void) | undefined;
  /** One for the whole piece, started anew by each pull: there are thousands of them, and a timer and a listener for each cost more than the rest. */
  #stall: NodeJS.Timeout | undefined;
  #received = 0;
  /** Set once, when the download ends, for better or worse. */
  #end: { readonly failure: Failure | undefined; readonly closed: Promise<void> } | undefined;

  constructor(init: PieceDownloadInit) {
    this.#init = init;
    this.piece = init.piece;
    this.content = { [Symbol.asyncIterator]: () => this.#iterate() };
    init.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (init.signal?.aborted === true) this.#onAbort();
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      if (this.#end?.failure !== undefined) throw this.#end.failure.reason;
      if (this.#end !== undefined) return { done: true, value: undefined };

      const pulled = await this.#pull();
      if (pulled.done === true || pulled.value.byteLength > 0) return pulled;
    }
  }

  /** The consumer left the loop. */
  async return(): Promise<IteratorResult<Uint8Array>> {
    await this[Symbol.asyncDispose]();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end !== undefined) return await this.#end.closed;
    const reason = new TransportError("ERR_CLOSED", `Cannot read ${this.#name}: it was given up`);
    await this.#finish({ reason });
  }

  #iterate(): AsyncIterator<Uint8Array> {
    if (this.#pulls !== undefined) {
      throw new TypeError(`Cannot iterate over ${this.#name} twice: its content is gone`);
    }
    this.#pulls = this.#init.chunks[Symbol.asyncIterator]();
    return this;
  }

  async #pull(): Promise<IteratorResult<Uint8Array>> {
    try {
      const pulled = await this.#arrival(this.#pulls!.next());
      this.#count(pulled);
      if (pulled.done === true) await this.#finish();
      return pulled;
    } catch (reason) {
      await this.#finish({ reason });
      throw reason;
    }
  }

  /** What a pull brings, unless the download ends before. What it brings then is for `close` to free. */
  async #arrival(pull: Promise<IteratorResult<Uint8Array>>): Promise<IteratorResult<Uint8Array>> {
    try {
      return await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        pull.then(resolve, reject);
        if (this.#end !== undefined) {
          reject(this.#end.failure?.reason); // it ended while `next` ran
          return;
        }
        this.#giveUp = reject;
        this.#stall = this.#stall?.refresh() ?? setTimeout(this.#onStall, this.#init.stallMs);
      });
    } finally {
      this.#giveUp = undefined;
    }
  }

  /** While nobody pulls, the time is the consumer's own. */
  readonly #onStall = (): void => {
    const waited = `nothing arrived for ${this.#init.stallMs} ms`;
    this.#giveUp?.(
      new TransportError("ERR_PARENT_STALLED", `Cannot read ${this.#name}: ${waited}`),
    );
  };

  #count(pulled: IteratorResult<Uint8Array>): void {
    const { length = this.piece.length } = this.#init;
    if (pulled.done === true) {
      if (this.#received === length) return;
      throw new TransportError(
        "ERR_PIECE_TRUNCATED",
        `Cannot read ${this.#name}: it ended after ${this.#received} of ${length} bytes`,
      );
    }
    this.#received += pulled.value.byteLength;
    if (this.#received > length) {
      throw new TransportError(
        "ERR_PROTOCOL",
        `Cannot read ${this.#name}: more arrived than the announced ${length} bytes`,
      );
    }
  }

  readonly #onAbort = (): void => {
    // A failing `close` is not lost: it is thrown by `next` or by the dispose that follows.
    this.#finish({ reason: this.#init.signal?.reason }).catch(() => undefined);
  };

  async #finish(failure?: Failure): Promise<void> {
    if (this.#end === undefined) {
      this.#init.signal?.removeEventListener("abort", this.#onAbort);
      this.#end = { failure, closed: this.#close(failure) };
      clearTimeout(this.#stall);
      this.#giveUp?.(failure?.reason);
    }
    await this.#end.closed;
  }

  async #close(failure?: Failure): Promise<void> {
    await this.#init.close(failure);
  }

  get #name(): string {
    return `piece ${this.piece.number} from ${this.#init.hostId}`;
  }
}
