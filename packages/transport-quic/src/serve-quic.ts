import { performance } from "node:perf_hooks";
import type { QuicEndpoint, QuicEndpointStats } from "@damselfly/quic";
import {
  DEFAULT_SERVER_LIMITS,
  type PieceServer,
  type PieceSource,
  type ServerAddress,
  type ServerLimits,
  type Tls,
  toTlsSource,
} from "@damselfly/transport";
import { ALPN } from "./codes.ts";
import { ConnectionLedger, type QuicPeerStats, type QuicTotals } from "./connection-ledger.ts";
import { ConnectionPlaces } from "./connection-places.ts";
import { PieceHandler, REFUSED_STREAM_COUNT } from "./piece-handler.ts";
import { RedialWatch } from "./redial-watch.ts";
import { EndpointTls } from "./endpoint-tls.ts";
import { type EndpointTuning, IDLE_MS_MAX, openerOf, tuningOf } from "./endpoint-tuning.ts";

export interface ServeQuicOptions extends EndpointTuning {
  readonly source: PieceSource;
  /** An IP literal; port 0 picks a free one. */
  readonly address: ServerAddress;
  /** Over `DEFAULT_SERVER_LIMITS`. */
  readonly limits?: Partial<ServerLimits> | undefined;
  /**
   * With it mutual TLS, and children must show a node's certificate; without it encrypted, but nobody is who they say.
   * Where the endpoint's backend knows its peers by keys, these are looked at again when it changes.
   */
  readonly tls?: Tls | undefined;
  /** How long disposing waits for the pieces that run, in milliseconds; default 5 000. */
  readonly closeMs?: number | undefined;
  /** Silence that ends a connection, in milliseconds; default 300 000. The child's pool usually ends it before. */
  readonly idleTimeoutMs?: number | undefined;
  /** From a stream's first byte to its complete request, in milliseconds; default 10 000. Then it is reset. */
  readonly requestMs?: number | undefined;
  /** Whether children that were here before may ask with their first packet (0-RTT); default true. */
  readonly earlyData?: boolean | undefined;
  /** See `QuicEndpointOptions.resetKey`; of quiche alone. */
  readonly resetKey?: Uint8Array | undefined;
}

export interface QuicPieceServer extends PieceServer {
  readonly protocol: "quic";
  /** Pieces being served at this moment. */
  readonly requestCount: number;
  stats(): QuicServerStats;
  /** Closes at once, without finishing anything or telling anybody. */
  abort(): Promise<void>;
}

export interface QuicServerStats extends QuicEndpointStats {
  readonly totals: QuicTotals;
  /** Pieces, and ranges of pieces, being served at this moment. */
  readonly requestCount: number;
  /** Connections closed because their path loses more than their congestion control bears. */
  readonly redialCount: number;
  readonly connections: readonly QuicPeerStats[];
}

/** Connections that have no place: those in their handshakes, and those being told that there is none for them. */
const UNPLACED_CONNECTION_COUNT = 1024 + 100;

/**
 * Serves pieces as Vortex over QUIC, one stream a piece.
 *
 * A piece takes one chunk of its source's here, however slow the child, and what QUIC has taken to send.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE`, `ERR_TLS_CONFIG`, `ERR_ADDRESS`
 */
export async function serveQuic(options: ServeQuicOptions): Promise<QuicPieceServer> {
  const { source, address, closeMs = 5_000 } = options;
  const idleTimeoutMs = Math.min(options.idleTimeoutMs ?? 300_000, IDLE_MS_MAX);
  const limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
  // Another backend has one congestion control, and an operator's choice stands.
  const isByPath =
    (options.congestionControl ?? "auto") === "auto" && options.openEndpoint === undefined;
  const redialWatch = isByPath ? new RedialWatch() : undefined;
  const { logger } = options;
  const handler = new PieceHandler({
    source,
    limits,
    requestMs: options.requestMs,
    logger,
    redialWatch,
  });
  const places = new ConnectionPlaces({ limits, now: () => performance.now() });
  const ledger = new ConnectionLedger();
  const tls = new EndpointTls(options.tls && toTlsSource(options.tls), {
    hasKeys: options.openEndpoint !== undefined,
    logger,
  });
  const endpoint = await openerOf(options)({
    ...tuningOf(options),
    ...(options.openEndpoint === undefined
      ? { earlyData: options.earlyData ?? true, resetKey: options.resetKey }
      : {}),
    idleTimeoutMs,
    address,
    alpn: ALPN,
    tls: tls.current,
    limits: {
      // Those that are in their handshakes have limits of their own, and those beyond the limit are told so.
      connectionCountMax: limits.connectionCountMax + UNPLACED_CONNECTION_COUNT,
      streamCountMax: limits.requestCountMax + REFUSED_STREAM_COUNT,
    },
    accept(connection) {
      ledger.add(connection);
      places.add(connection);
      connection.onStream = (stream) => {
        const { busy, end } = places.begin(connection);
        void handler.serve(stream, connection, busy).then(end);
      };
    },
  });
  const unfollow = tls.follow(endpoint);
  return new QuicServer({ endpoint, handler, places, ledger, redialWatch, closeMs, unfollow });
}

interface QuicServerParts {
  readonly endpoint: QuicEndpoint;
  readonly handler: PieceHandler;
  readonly places: ConnectionPlaces;
  readonly ledger: ConnectionLedger;
  readonly redialWatch: RedialWatch | undefined;
  readonly closeMs: number;
  readonly unfollow: () => void;
}

class QuicServer implements QuicPieceServer {
  readonly protocol = "quic";
  readonly #parts: QuicServerParts;
  #closing: Promise<void> | undefined;

  constructor(parts: QuicServerParts) {
    this.#parts = parts;
  }

  get address(): ServerAddress {
    return this.#parts.endpoint.address;
  }

  get requestCount(): number {
    return this.#parts.handler.requestCount;
  }

  stats(): QuicServerStats {
    const { endpoint, handler, places, ledger, redialWatch } = this.#parts;
    const stats = endpoint.stats();
    return {
      ...stats,
      refusedCount: stats.refusedCount + places.refusedCount,
      totals: ledger.totals,
      requestCount: handler.requestCount,
      redialCount: redialWatch?.redialCount ?? 0,
      connections: ledger.peers,
    };
  }

  async abort(): Promise<void> {
    this.#parts.unfollow();
    await this.#parts.endpoint.abort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#parts.handler.finish(this.#parts.closeMs);
    this.#parts.unfollow();
    await this.#parts.endpoint[Symbol.asyncDispose]();
  }
}
