import type { QuicEndpoint, QuicEndpointStats } from "@damselfly/quic";
import {
  DEFAULT_SERVER_LIMITS,
  type PieceServer,
  type PieceSource,
  type ServerAddress,
  type ServerLimits,
  type TlsIdentity,
} from "@damselfly/transport";
import { ALPN } from "./codes.ts";
import { PieceHandler } from "./piece-handler.ts";
import { type EndpointTuning, openerOf, tuningOf } from "./endpoint-tuning.ts";

export interface ServeQuicOptions extends EndpointTuning {
  readonly source: PieceSource;
  /** An IP literal; port 0 picks a free one. */
  readonly address: ServerAddress;
  /** Over `DEFAULT_SERVER_LIMITS`. */
  readonly limits?: Partial<ServerLimits> | undefined;
  /** With it mutual TLS; without it encrypted, but nobody is who they say. */
  readonly tls?: TlsIdentity | undefined;
  /** How long disposing waits for the pieces that run, in milliseconds; default 5 000. */
  readonly closeMs?: number | undefined;
  /** Silence that ends a connection, in milliseconds; default 300 000. The child's pool usually ends it before. */
  readonly idleTimeoutMs?: number | undefined;
}

export interface QuicPieceServer extends PieceServer {
  readonly protocol: "quic";
  /** Pieces being served at this moment. */
  readonly requestCount: number;
  stats(): QuicEndpointStats;
  /** Closes at once, without finishing anything or telling anybody. */
  abort(): Promise<void>;
}

/** A child may have this many streams open beyond the requests that are served: each is answered as busy. */
const REFUSED_STREAM_COUNT = 1024;

/**
 * Serves pieces as Vortex over QUIC, one stream a piece.
 *
 * A piece takes one chunk of its source's here, however slow the child, and what QUIC has taken to send.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE`, `ERR_TLS_CONFIG`, `ERR_ADDRESS`
 */
export async function serveQuic(options: ServeQuicOptions): Promise<QuicPieceServer> {
  const { source, address, tls, closeMs = 5_000, idleTimeoutMs = 300_000 } = options;
  const limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
  const handler = new PieceHandler(source, limits.requestCountMax, options.logger);
  const endpoint = await openerOf(options)({
    ...tuningOf(options),
    idleTimeoutMs,
    address,
    alpn: ALPN,
    tls: tls ?? "insecure",
    limits: {
      connectionCountMax: limits.connectionCountMax,
      streamCountMax: limits.requestCountMax + REFUSED_STREAM_COUNT,
    },
    accept(connection) {
      connection.onStream = (stream) => handler.serve(stream);
    },
  });
  return new QuicServer(endpoint, handler, closeMs);
}

class QuicServer implements QuicPieceServer {
  readonly protocol = "quic";
  readonly #endpoint: QuicEndpoint;
  readonly #handler: PieceHandler;
  readonly #closeMs: number;
  #closing: Promise<void> | undefined;

  constructor(endpoint: QuicEndpoint, handler: PieceHandler, closeMs: number) {
    this.#endpoint = endpoint;
    this.#handler = handler;
    this.#closeMs = closeMs;
  }

  get address(): ServerAddress {
    return this.#endpoint.address;
  }

  get requestCount(): number {
    return this.#handler.requestCount;
  }

  stats(): QuicEndpointStats {
    return this.#endpoint.stats();
  }

  async abort(): Promise<void> {
    await this.#endpoint.abort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#handler.finish(this.#closeMs);
    await this.#endpoint[Symbol.asyncDispose]();
  }
}
