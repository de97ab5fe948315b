import { performance } from "node:perf_hooks";
import { ByteBudget } from "@damselfly/limits";
import {
  assertByteRange,
  type ByteRange,
  clipByteRange,
  createPieceDownload,
  DEFAULT_DOWNLOADER_TIMEOUTS,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceInfo,
  type PieceRequest,
  isOtherIdentity,
  type Tls,
  type TlsSource,
  toTlsSource,
  TransportError,
} from "@damselfly/transport";
import type { QuicPeerStats, QuicTotals } from "./connection-ledger.ts";
import { ConnectionPool, type QuicParentStats } from "./connection-pool.ts";
import { Dialler, type Target } from "./dialler.ts";
import { IDLE_MS_MAX, type EndpointTuning } from "./endpoint-tuning.ts";
import { type Answer, type AskContext, PieceAsker } from "./piece-asker.ts";
import { PathMemory } from "./path-memory.ts";
import { RANGE_LENGTH, RangedContent } from "./ranged-content.ts";
import { ReadBuffers } from "./read-buffers.ts";
import { toTransportError } from "./to-transport-error.ts";

export interface QuicDownloaderOptions extends EndpointTuning {
  /** With it mutual TLS; without it encrypted, but nobody is who they say. */
  readonly tls?: Tls | undefined;
  /** Over `DEFAULT_DOWNLOADER_TIMEOUTS`. */
  readonly timeouts?: Partial<DownloaderTimeouts> | undefined;
  readonly pool?:
    | {
        /** Connections kept, all parents together; default 1000. */
        readonly capacity?: number | undefined;
        /** A connection that nobody uses is closed after this, in milliseconds; default 300 000. */
        readonly idleTimeoutMs?: number | undefined;
      }
    | undefined;
  /**
   * Which of a parent's ports are dialled: `quiche` those in `ports.quic`, `quinn` the one in `quinn`, with its key.
   * Must fit `openEndpoint`. Default `quiche`.
   */
  readonly backend?: QuicBackend | undefined;
  /**
   * Content that may be on its way at once, all parents together, in bytes; default 64 MiB. Beyond it new pieces wait,
   * and those that run do with one range at a time. More keeps longer and faster paths full, and costs memory where
   * content comes faster than it is taken.
   */
  readonly bytesInFlightMax?: number | undefined;
  /** Whether the first requests to a known parent travel with the first packet (0-RTT); default true. */
  readonly earlyData?: boolean | undefined;
  /**
   * Round trip time up to which a path counts as a LAN's, with one connection and cubic, in milliseconds; default 5,
   * and any to this machine itself.
   */
  readonly lanRttMs?: number | undefined;
}

export type QuicBackend = "quiche" | "quinn";

export interface QuicDownloader extends Downloader {
  readonly protocol: "quic";
  /** Connections held, idle ones included. */
  readonly connectionCount: number;
  /** Bytes asked for and not yet taken, as the budget counts them. */
  readonly bytesInFlight: number;
  stats(): QuicDownloaderStats;
}

export interface QuicDownloaderStats {
  readonly totals: QuicTotals;
  /** Connections that parents have closed to be dialled for another congestion control. */
  readonly redialCount: number;
  readonly bytesInFlight: number;
  readonly parents: readonly QuicParentStats[];
  /** Every connection held. */
  readonly connections: readonly QuicPeerStats[];
}

/** Downloads pieces as Vortex over pooled QUIC connections, one stream a piece. Opens nothing before it is used. */
export function createQuicDownloader(options: QuicDownloaderOptions = {}): QuicDownloader {
  return new PooledDownloader(options);
}

/** What a piece takes of the budget before it is announced, if nobody said how long it is: Dragonfly's usual length. */
const EXPECTED_LENGTH = 4 * 1024 * 1024;

/** Asked for on the first connection to a parent; the rest of the piece goes over those that suit the path by then. */
const FIRST_CONTACT_LENGTH = 1024 * 1024;

/** A parent that is silent for this long is dead, unless the bound on stalls wants to know earlier. */
const DEAD_AFTER_MIN_MS = 1_000;

class PooledDownloader implements QuicDownloader {
  readonly protocol = "quic";
  readonly #timeouts: DownloaderTimeouts;
  readonly #backend: QuicBackend;
  readonly #dialler: Dialler;
  readonly #pool: ConnectionPool;
  readonly #asker: PieceAsker;
  readonly #budget: ByteBudget;
  readonly #buffers = new ReadBuffers();
  /** Ends each download that runs. */
  readonly #running = new Set<AbortController>();
  #closing: Promise<void> | undefined;
  #unlisten: (() => void) | undefined;

  constructor(options: QuicDownloaderOptions) {
    const { capacity = 1000, idleTimeoutMs = 300_000 } = options.pool ?? {};
    this.#timeouts = { ...DEFAULT_DOWNLOADER_TIMEOUTS, ...options.timeouts };
    const now = (): number => performance.now();
    this.#backend = options.backend ?? "quiche";
    const tls = options.tls && toTlsSource(options.tls);
    this.#dialler = new Dialler({
      ...options,
      tls,
      connectMs: this.#timeouts.connectMs,
      // Early enough to go on elsewhere before the piece counts as stalled.
      deadAfterMs: Math.max(DEAD_AFTER_MIN_MS, this.#timeouts.stallMs / 2),
      // The pool closes idle connections, and says so to the parent; this one is for connections it lost.
      idleTimeoutMs: Math.min(idleTimeoutMs + 2 * this.#timeouts.stallMs, IDLE_MS_MAX),
      connectionCountMax: 2 * capacity, // evicted ones that are still in use count too
      earlyData: this.#backend === "quiche" && (options.earlyData ?? true),
    });
    this.#pool = new ConnectionPool({
      capacity,
      idleTimeoutMs,
      memory: new PathMemory({ now, lanRttMs: options.lanRttMs }),
      // The other backend knows no wishes and no tickets.
      wish: this.#backend === "quiche" ? (options.congestionControl ?? "auto") : "none",
      dial: (target, how) => this.#dialler.dial(target, how),
      now,
    });
    this.#asker = new PieceAsker(this.#pool, this.#timeouts);
    this.#budget = new ByteBudget(options.bytesInFlightMax ?? 64 * 1024 * 1024);
    // Keys stay what they are.
    if (tls !== undefined && this.#backend === "quiche") this.#renewWith(tls);
  }

  get connectionCount(): number {
    return this.#pool.ledger.size;
  }

  get bytesInFlight(): number {
    return this.#budget.usedLength;
  }

  stats(): QuicDownloaderStats {
    const { ledger, redialCount, parents } = this.#pool;
    const { bytesInFlight } = this;
    return {
      totals: ledger.totals,
      redialCount,
      bytesInFlight,
      parents,
      connections: ledger.peers,
    };
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    const { signal } = options;
    const what = `Cannot download piece ${request.pieceNumber} from ${parent.hostId}`;
    if (request.range !== undefined) assertByteRange(request.range);
    if (this.#closing !== undefined) throw closedError(what);
    signal?.throwIfAborted();
    const target = targetOf(parent, request, { backend: this.#backend, what });

    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#running.add(controller);
    const done = (): void => {
      signal?.removeEventListener("abort", onAbort);
      this.#running.delete(controller);
    };
    try {
      const context = { what, signal: controller.signal };
      const { piece, content, length } = await this.#open(target, request, context);
      return createPieceDownload({
        piece,
        length,
        hostId: parent.hostId,
        chunks: content.chunks(),
        stallMs: this.#timeouts.stallMs,
        signal: controller.signal,
        close: () => {
          done();
          content.close();
        },
      });
    } catch (error) {
      done();
      controller.signal.throwIfAborted();
      throw toTransportError(error, what);
    }
  }

  /** Ends what runs with `ERR_CLOSED`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Requests go to new connections once our certificate is another; those that run end where they are. */
  #renewWith(tls: TlsSource): void {
    let former = tls.current;
    this.#unlisten = tls.onChange(() => {
      if (isOtherIdentity(tls.current, former)) this.#pool.retireAll();
      former = tls.current;
    });
  }

  async #close(): Promise<void> {
    this.#unlisten?.();
    for (const controller of this.#running) {
      controller.abort(closedError("Cannot download pieces"));
    }
    this.#pool.close();
    await this.#dialler[Symbol.asyncDispose]();
  }

  /** Asks for the piece, or the first of it, as soon as the budget allows. */
  async #open(
    target: Target,
    request: PieceRequest,
    context: AskContext,
  ): Promise<{
    readonly piece: PieceInfo;
    readonly length: number;
    readonly content: RangedContent;
  }> {
    const { offset, length: lengthMax } = request.range ?? { offset: 0, length: Infinity };
    const expectedLength = Math.max(0, (request.expectedLength ?? EXPECTED_LENGTH) - offset);
    const reservation = await this.#budget.reserve(
      Math.min(RANGE_LENGTH, lengthMax, expectedLength),
      context.signal,
    );
    const askFor = (range: ByteRange, signal: AbortSignal): Promise<Answer> =>
      this.#asker.ask(target, { ...request, range }, { ...context, signal });
    let first: Answer | undefined;
    try {
      const isKnown = this.#pool.isKnown(target);
      const length = Math.min(isKnown ? RANGE_LENGTH : FIRST_CONTACT_LENGTH, lengthMax);
      first = await askFor({ offset, length }, context.signal);
      const { piece } = first;
      const range = clipByteRange(request.range, piece.length);
      const content = new RangedContent({
        piece,
        range,
        first,
        firstLength: length,
        reservation,
        ask: askFor,
        width: () => this.#pool.width(target),
        budget: this.#budget,
        buffers: this.#buffers,
        what: context.what,
      });
      return { piece, length: range.length, content };
    } catch (error) {
      reservation.release();
      first?.free(false);
      throw error;
    }
  }
}

/** A parent with several QUIC ports has a process behind each: pieces are spread over them. */
function targetOf(
  parent: ParentAddress,
  request: PieceRequest,
  { backend, what }: { readonly backend: QuicBackend; readonly what: string },
): Target {
  if (backend === "quinn" && parent.quinn !== undefined) {
    const { port, key, certificates } = parent.quinn;
    return {
      ip: parent.ip,
      port,
      hostname: parent.hostname,
      peerKey: key,
      keyCertificates: certificates,
    };
  }
  const ports = (backend === "quiche" ? parent.ports.quic : undefined) ?? [];
  const port = ports[request.pieceNumber % ports.length];
  if (port === undefined) {
    throw new TransportError("ERR_PARENT_UNREACHABLE", `${what}: it does not offer QUIC`);
  }
  return { ip: parent.ip, port, hostname: parent.hostname };
}

function closedError(what: string): TransportError {
  return new TransportError("ERR_CLOSED", `${what}: the downloader is closed`);
}
