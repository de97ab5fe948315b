import {
  assertByteRange,
  clipByteRange,
  createPieceDownload,
  DEFAULT_DOWNLOADER_TIMEOUTS,
  TransportError,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type Tls,
  toTlsSource,
} from "@damselfly/transport";
import { ClientPool } from "./client-pool.ts";
import { PieceCall } from "./piece-call.ts";

export interface GrpcDownloaderOptions {
  /** With it mutual TLS, without it plain. */
  readonly tls?: Tls | undefined;
  /** Over `DEFAULT_DOWNLOADER_TIMEOUTS`. */
  readonly timeouts?: Partial<DownloaderTimeouts> | undefined;
  /** A connection nobody has used for this long is closed; milliseconds, default 60,000. */
  readonly idleTimeoutMs?: number | undefined;
  /** Connections to one parent, at most; default 4. */
  readonly connectionCountMax?: number | undefined;
}

export interface GrpcDownloader extends Downloader {
  /** Connections to all parents, idle ones included. */
  readonly connectionCount: number;
}

/** Fetches pieces from the servers that `serveGrpc` makes. */
export function createGrpcDownloader(options: GrpcDownloaderOptions = {}): GrpcDownloader {
  const { tls, timeouts, idleTimeoutMs = 60_000, connectionCountMax = 4 } = options;
  const pool = new ClientPool({
    tls: tls && toTlsSource(tls),
    idleTimeoutMs,
    connectionCountMax,
  });
  return new PooledDownloader(pool, { ...DEFAULT_DOWNLOADER_TIMEOUTS, ...timeouts });
}

class PooledDownloader implements GrpcDownloader {
  readonly protocol = "grpc";
  readonly #pool: ClientPool;
  readonly #timeouts: DownloaderTimeouts;
  readonly #calls = new Set<PieceCall>();
  #isClosed = false;

  constructor(pool: ClientPool, timeouts: DownloaderTimeouts) {
    this.#pool = pool;
    this.#timeouts = timeouts;
  }

  get connectionCount(): number {
    return this.#pool.connectionCount;
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    const { hostId, ports } = parent;
    const action = `Cannot download piece ${request.pieceNumber} from ${hostId}`;
    if (request.range !== undefined) assertByteRange(request.range);
    if (this.#isClosed) throw closedError(action);
    signal?.throwIfAborted();
    if (ports.grpc === undefined) {
      throw new TransportError("ERR_PARENT_UNREACHABLE", `${action}: it does not offer gRPC`);
    }

    const call = new PieceCall(this.#pool.acquire(parent, ports.grpc), {
      request,
      action,
      timeouts: this.#timeouts,
      signal,
    });
    this.#calls.add(call);
    const close = (): void => {
      this.#calls.delete(call);
      call.close();
    };
    try {
      const piece = await call.announcement();
      const { length } = clipByteRange(request.range, piece.length);
      const bounds = { length, stallMs: this.#timeouts.stallMs, signal: call.signal };
      return createPieceDownload({ piece, hostId, chunks: call.chunks(), ...bounds, close });
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Ends what runs with `ERR_CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const call of this.#calls) call.abort(closedError("Cannot download pieces"));
    await this.#pool[Symbol.asyncDispose]();
  }
}

function closedError(action: string): TransportError {
  return new TransportError("ERR_CLOSED", `${action}: the downloader is closed`);
}
