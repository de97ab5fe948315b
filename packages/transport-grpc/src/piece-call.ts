import {
  type DownloadPieceRequest,
  type DownloadPieceResponse__Output,
  RpcError,
} from "@damselfly/rpc";
import {
  TransportError,
  within,
  type DownloaderTimeouts,
  type PieceInfo,
  type PieceRequest,
} from "@damselfly/transport";
import { connectivityState } from "@grpc/grpc-js";
import type { PooledClient } from "./client-pool.ts";
import { toTransportError, type Phase } from "./errors.ts";

export interface PieceCallOptions {
  readonly request: PieceRequest;
  /** First half of every message: `Cannot download piece 3 from …`. */
  readonly action: string;
  readonly timeouts: DownloaderTimeouts;
  readonly signal: AbortSignal | undefined;
}

/** One DownloadPiece call: first its announcement, then its chunks, and a connection given back at the end. */
export class PieceCall {
  readonly #pooled: PooledClient;
  readonly #options: PieceCallOptions;
  readonly #stop = new AbortController();
  readonly #replies: AsyncIterator<DownloadPieceResponse__Output>;
  #isClosed = false;
  #isBroken = false;

  constructor(pooled: PooledClient, options: PieceCallOptions) {
    this.#pooled = pooled;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    const replies = pooled.client.downloadPiece(toMessage(options.request), {
      signal: this.signal,
    });
    this.#replies = replies[Symbol.asyncIterator]();
  }

  /** Aborts when the call is to end before its time, by whomever. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Ends the call; what waits throws `reason`. */
  abort(reason: unknown): void {
    this.#stop.abort(reason);
  }

  /** Cancels the call if it still runs. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.abort(new TransportError("ERR_CLOSED", `${this.#options.action}: it was given up`));
    this.#pooled.release({ isBroken: this.#isBroken });
  }

  async announcement(): Promise<PieceInfo> {
    const { action, request, timeouts } = this.#options;
    const { announceMs: ms } = timeouts;
    const { signal } = this;
    const expired = (): Error =>
      new TransportError("ERR_PARENT_STALLED", `${action}: not announced within ${ms} ms`);
    const stopWatching = this.#watchConnecting();
    try {
      const first = await within(this.#next("announcement"), { ms, signal, expired });
      return pieceInfo(first?.metadata, request, action);
    } finally {
      stopWatching();
    }
  }

  /** Exactly what arrives: the length is for others to check. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const reply = await this.#next("content");
      if (reply === undefined) return;
      const { content } = reply;
      if (content === undefined || content.byteLength === 0) {
        throw this.#protocolError("a message within the content has none");
      }
      yield content;
    }
  }

  async #next(phase: Phase): Promise<DownloadPieceResponse__Output | undefined> {
    try {
      const { done, value } = await this.#replies.next();
      return done === true ? undefined : value;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#isBroken = error.code === "UNAVAILABLE";
      throw toTransportError(error, phase, this.#options.action);
    }
  }

  readonly #onAbort = (): void => this.abort(this.#options.signal?.reason);

  /**
   * Gives up when there is no connection after `connectMs`. In steps, of which one that comes late counts once: time in
   * which this process was too busy to look is not the parent's.
   *
   * @returns what ends the watch
   */
  #watchConnecting(): () => void {
    const { action, timeouts } = this.#options;
    const channel = this.#pooled.client.channel.getChannel();
    let stepCount = 0;
    const timer = setInterval(() => {
      stepCount += 1;
      const isConnected = channel.getConnectivityState(false) === connectivityState.READY;
      if (isConnected) clearInterval(timer);
      if (isConnected || stepCount < CONNECT_STEP_COUNT) return;
      this.#isBroken = true;
      const reason = `${action}: no connection within ${timeouts.connectMs} ms`;
      this.abort(new TransportError("ERR_PARENT_UNREACHABLE", reason));
    }, timeouts.connectMs / CONNECT_STEP_COUNT);
    return () => clearInterval(timer);
  }

  #protocolError(what: string): TransportError {
    return new TransportError("ERR_PROTOCOL", `${this.#options.action}: ${what}`);
  }
}

const CONNECT_STEP_COUNT = 8;

function toMessage({ taskId, pieceNumber, range }: PieceRequest): DownloadPieceRequest {
  return { taskId, pieceNumber, ...(range === undefined ? {} : { range }) };
}

/** @throws {TransportError} `ERR_PROTOCOL` for anything but a sane announcement of the piece asked for */
function pieceInfo(
  metadata: DownloadPieceResponse__Output["metadata"],
  { pieceNumber }: PieceRequest,
  action: string,
): PieceInfo {
  if (metadata === undefined || metadata === null) {
    throw new TransportError("ERR_PROTOCOL", `${action}: it was not announced`);
  }
  const { number, offset, length, digest, strongDigest } = metadata;
  const isSane =
    number === pieceNumber &&
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) &&
    offset >= 0 &&
    length >= 0;
  if (isSane) {
    return { number, offset, length, digest, ...(strongDigest !== "" && { strongDigest }) };
  }
  throw new TransportError(
    "ERR_PROTOCOL",
    `${action}: announced as piece ${number}, ${length} bytes at ${offset}`,
  );
}
