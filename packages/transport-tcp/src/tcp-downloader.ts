import {
  assertByteRange,
  clipByteRange,
  createPieceDownload,
  DEFAULT_DOWNLOADER_TIMEOUTS,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type Tls,
  toTlsSource,
  TransportError,
  within,
} from "@damselfly/transport";
import { ConnectionPool, type DialCounts } from "./connection-pool.ts";
import { cutChunks } from "./cut-chunks.ts";
import type { Answer, Target } from "./parent-connection.ts";
import { PieceAsker } from "./piece-asker.ts";
import { toTransportError } from "./to-transport-error.ts";

export interface TcpDownloaderOptions {
  /** With it every parent but those that are `plain` is dialled with mutual TLS 1.3; without it none is. */
  readonly tls?: Tls | undefined;
  /** Over `DEFAULT_DOWNLOADER_TIMEOUTS`. */
  readonly timeouts?: Partial<DownloaderTimeouts> | undefined;
  readonly pool?:
    | {
        /** Connections kept, all parents together; default 1000. */
        readonly capacity?: number | undefined;
        /** An idle connection is closed after this, in milliseconds; default and longest 30 000. */
        readonly idleTimeoutMs?: number | undefined;
      }
    | undefined;
  /** For dates in certificates: milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
}

export interface TcpDownloader extends Downloader {
  readonly protocol: "tcp";
  /** Connections held, idle ones included. */
  readonly connectionCount: number;
  stats(): TcpDownloaderStats;
  /** A round trip to an address, as its connections showed it of late: milliseconds; undefined: there were none. */
  rttTo(ip: string): number | undefined;
}

/** Counts are since the start. */
export interface TcpDownloaderStats extends DialCounts {
  /** Held, idle ones included. */
  readonly connectionCount: number;
  readonly idleCount: number;
  /** Requests put a second time, because the connection that was kept for them was dead. */
  readonly repeatedCount: number;
}

/**
 * Downloads pieces as Vortex over pooled TCP connections, each for one piece at a time. Opens nothing before it is used.
 *
 * @throws {TcpError} `ERR_TLS_CONFIG`
 */
export function createTcpDownloader(options: TcpDownloaderOptions = {}): TcpDownloader {
  return new PooledDownloader(options);
}

class PooledDownloader implements TcpDownloader {
  readonly protocol = "tcp";
  readonly #isSecure: boolean;
  readonly #timeouts: DownloaderTimeouts;
  readonly #pool: ConnectionPool;
  readonly #asker: PieceAsker;
  /** Ends each download that runs. */
  readonly #running = new Set<AbortController>();
  #isClosed = false;

  constructor(options: TcpDownloaderOptions) {
    const { tls } = options;
    const { capacity = 1000, idleTimeoutMs = Infinity } = options.pool ?? {};
    this.#isSecure = tls !== undefined;
    this.#timeouts = { ...DEFAULT_DOWNLOADER_TIMEOUTS, ...options.timeouts };
    this.#pool = new ConnectionPool({
      tls: tls === undefined ? undefined : toTlsSource(tls),
      capacity,
      idleTimeoutMs,
      connectMs: this.#timeouts.connectMs,
      now: options.now,
    });
    this.#asker = new PieceAsker(this.#pool, { silenceMs: this.#timeouts.connectMs });
  }

  get connectionCount(): number {
    return this.#pool.connectionCount;
  }

  stats(): TcpDownloaderStats {
    const { connectionCount, idleCount, counts } = this.#pool;
    const { repeatedCount } = this.#asker;
    return { connectionCount, idleCount, repeatedCount, ...counts };
  }

  rttTo(ip: string): number | undefined {
    return this.#pool.rttTo(ip);
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    const { signal } = options;
    const what = `Cannot download piece ${request.pieceNumber} from ${parent.hostId}`;
    if (request.range !== undefined) assertByteRange(request.range);
    if (this.#isClosed) throw closedError(what);
    signal?.throwIfAborted();
    const target = this.#targetOf(parent, what);

    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#running.add(controller);
    const done = (): void => {
      signal?.removeEventListener("abort", onAbort);
      this.#running.delete(controller);
    };
    try {
      const isForeign = parent.plain === true;
      const { range } = request;
      const answer = await this.#announced(target, request, {
        isForeign,
        what,
        signal: controller.signal,
      });
      const { piece } = answer;
      return createPieceDownload({
        piece,
        length: clipByteRange(range, piece.length).length,
        hostId: parent.hostId,
        chunks:
          isForeign && range !== undefined ? cutChunks(answer.chunks(), range) : answer.chunks(),
        stallMs: this.#timeouts.stallMs,
        signal: controller.signal,
        close: () => {
          done();
          answer.free();
        },
      });
    } catch (error) {
      done();
      const failure = controller.signal.aborted
        ? controller.signal.reason
        : toTransportError(error, what);
      controller.abort(failure); // what still runs for it ends
      throw failure;
    }
  }

  /** Ends what runs with `ERR_CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const reason = closedError("Cannot download pieces");
    for (const controller of this.#running) controller.abort(reason);
    this.#pool.close();
    await Promise.resolve();
  }

  async #announced(
    target: Target,
    request: PieceRequest,
    context: { readonly isForeign: boolean; readonly what: string; readonly signal: AbortSignal },
  ): Promise<Answer> {
    const { announceMs: ms } = this.#timeouts;
    const { what, signal } = context;
    const asking = this.#asker.ask(target, request, context);
    try {
      return await within(asking, {
        ms,
        signal,
        expired: () =>
          new TransportError("ERR_PARENT_STALLED", `${what}: not announced within ${ms} ms`),
      });
    } catch (error) {
      asking.then(
        (answer) => answer.free(),
        () => undefined, // nobody waits for it any more
      );
      throw error;
    }
  }

  #targetOf(parent: ParentAddress, what: string): Target {
    const { ip, hostname, ports, plain = false } = parent;
    if (ports.tcp === undefined) {
      throw new TransportError("ERR_PARENT_UNREACHABLE", `${what}: it does not offer TCP`);
    }
    return { ip, port: ports.tcp, hostname, isSecure: this.#isSecure && !plain };
  }
}

function closedError(action: string): TransportError {
  return new TransportError("ERR_CLOSED", `${action}: the downloader is closed`);
}
