import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { AddressCounts, AddressRates, HalfOpen, IdleQueue } from "@damselfly/limits";
import {
  DEFAULT_SERVER_LIMITS,
  type PieceServer,
  type PieceSource,
  type ServerAddress,
  type ServerLimits,
  NODE_CERTIFICATE_NAME,
  type Tls,
  TlsAcceptor,
  toTlsSource,
} from "@damselfly/transport";
import { ChildConnection, type ChildConnectionInit } from "./child-connection.ts";
import { TcpError } from "./errors.ts";
import { recogniseProtocol } from "./recognise-protocol.ts";
import type { TcpLogger } from "./logger.ts";
import { PieceHandler } from "./piece-handler.ts";
import { IDLE_MS, SOCKET_OPTIONS } from "./socket-options.ts";
import { ALPN, secureOptions } from "./tls-context.ts";

export interface ServeTcpOptions {
  readonly source: PieceSource;
  /** An IP literal; port 0 picks a free one. */
  readonly address: ServerAddress;
  /** Somebody else listens there, and hands over what he accepts: see `take`. */
  readonly isHandedOver?: boolean | undefined;
  /** With it children may come with TLS 1.3, and must then show a node's certificate of the same authority. */
  readonly tls?: Tls | undefined;
  /** Whether children may come without TLS, as Dragonfly's do. Both come to the same port. */
  readonly plain: boolean;
  /** Over `DEFAULT_SERVER_LIMITS`. */
  readonly limits?: Partial<ServerLimits> | undefined;
  /** How long disposing waits for the pieces that run, in milliseconds; default 5 000. */
  readonly closeMs?: number | undefined;
  /** How long to wait for a complete request, in milliseconds; default 30 000, as Dragonfly's daemons. */
  readonly idleMs?: number | undefined;
  /** Connections that begin in a second, from one address, and twice as many at once; default 500. Further ones are closed. */
  readonly connectionsPerSecondMax?: number | undefined;
  /** Connections that have not asked for anything yet; one more closes the oldest of them. Default 1 000. */
  readonly halfOpenCountMax?: number | undefined;
  readonly logger?: TcpLogger | undefined;
  /** For dates in certificates: milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
}

export interface TcpPieceServer extends PieceServer {
  readonly protocol: "tcp";
  /** Pieces being served at this moment. */
  readonly requestCount: number;
  stats(): TcpServerStats;
  /** Takes over a connection of which nothing has been read, as if it had been accepted here. */
  take(socket: Socket): void;
  /**
   * Takes over a plain connection that another server has accepted, and on which it saw a Vortex request; the bytes it
   * has read are unshifted. Where plain children are not served, it is closed.
   */
  accept(socket: Socket): void;
  /** Closes at once, without finishing anything or telling anybody. */
  abort(): Promise<void>;
}

export interface TcpServerStats {
  /** Open at this moment, however far they have come. */
  readonly connectionCount: number;
  /** Those that have asked and were served, so far. */
  readonly acceptedCount: number;
  /** Of them, those with TLS that resumed a session. */
  readonly resumedCount: number;
  /** Answered as busy, or closed, because there were too many. */
  readonly refusedCount: number;
  readonly requestCount: number;
  /** Content of pieces sent so far, in bytes. */
  readonly sentLength: number;
}

/** As QUIC's handshakes: a cluster may be behind one NAT. */
const CONNECTIONS_PER_SECOND_MAX = 500;
const HALF_OPEN_COUNT_MAX = 1_000;
/** A child that wants TLS has this long for the handshake, in milliseconds. */
const HANDSHAKE_MS = 10_000;
/** Connections that wait to be accepted, as Dragonfly's daemons have it. */
const BACKLOG = 1024;
/** Connections beyond the limit whose requests are answered as busy. Those beyond even that are closed. */
const REFUSABLE_CONNECTION_COUNT_MAX = 100;

/**
 * Serves pieces as Vortex over TCP, one after another on each connection.
 *
 * A piece takes one chunk of its source's here, however slow the child, and what the system has taken to send.
 *
 * @throws {TcpError}
 */
export async function serveTcp(options: ServeTcpOptions): Promise<TcpPieceServer> {
  const server = new TcpServer(options);
  await server.listen();
  return server;
}

class TcpServer implements TcpPieceServer {
  readonly protocol = "tcp";
  readonly #options: ServeTcpOptions;
  readonly #limits: ServerLimits;
  readonly #handler: PieceHandler;
  readonly #listener: Server;
  readonly #secure: TlsAcceptor | undefined;
  #address: ServerAddress;
  /** Connections that may be open, however far they have come. */
  readonly #socketCountMax: number;
  readonly #rates: AddressRates;
  /** Every connection, however far it has come, by its name. */
  readonly #sockets = new Map<string, Socket>();
  /** Those that have not asked for anything yet. */
  readonly #halfOpen: HalfOpen<Socket>;
  /** Those that have. */
  readonly #counts: AddressCounts;
  /** Those of them that wait for their next request. */
  readonly #idle = new IdleQueue<ChildConnection>();
  /** Those that are past TLS, where there is any, and the end of each. */
  readonly #serving = new Map<ChildConnection, Promise<void>>();
  #acceptedCount = 0;
  #resumedCount = 0;
  #refusedCount = 0;
  #isClosing = false;
  #closing: Promise<void> | undefined;

  constructor(options: ServeTcpOptions) {
    const { source, address, tls, logger } = options;
    this.#options = options;
    this.#address = address;
    this.#limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
    const { connectionCountMax, connectionsPerAddressMax } = this.#limits;
    const {
      connectionsPerSecondMax = CONNECTIONS_PER_SECOND_MAX,
      halfOpenCountMax = HALF_OPEN_COUNT_MAX,
    } = options;
    this.#handler = new PieceHandler({ source, limits: this.#limits, logger });
    this.#rates = new AddressRates(connectionsPerSecondMax);
    this.#halfOpen = new HalfOpen({ countMax: halfOpenCountMax, timeoutMs: this.#idleMs });
    this.#counts = new AddressCounts({
      countMax: connectionCountMax,
      perAddressMax: connectionsPerAddressMax,
    });
    this.#secure = tls === undefined ? undefined : this.#createSecure(tls);
    this.#listener = createServer({ ...SOCKET_OPTIONS, allowHalfOpen: true }, (socket) => {
      void this.#onConnection(socket);
    });
    this.#socketCountMax = connectionCountMax + halfOpenCountMax + REFUSABLE_CONNECTION_COUNT_MAX;
    this.#listener.maxConnections = this.#socketCountMax;
    this.#listener.on("drop", () => {
      this.#refusedCount += 1;
    });
  }

  get address(): ServerAddress {
    return this.#address;
  }

  get requestCount(): number {
    return this.#handler.requestCount;
  }

  stats(): TcpServerStats {
    return {
      connectionCount: this.#sockets.size,
      acceptedCount: this.#acceptedCount,
      resumedCount: this.#resumedCount,
      refusedCount: this.#refusedCount,
      requestCount: this.#handler.requestCount,
      sentLength: this.#handler.sentLength,
    };
  }

  async listen(): Promise<void> {
    if (this.#options.isHandedOver === true) return;
    const { ip: host, port } = this.#address;
    try {
      this.#listener.listen({ host, port, backlog: BACKLOG });
      await once(this.#listener, "listening");
    } catch (error) {
      throw listenError(this.#address, error);
    }
    this.#listener.on("error", (error) => {
      this.#options.logger?.warn({ err: error }, "Cannot accept a connection");
    });
    const bound = this.#listener.address();
    if (bound !== null && typeof bound !== "string") {
      this.#address = { ip: bound.address, port: bound.port };
    }
  }

  take(socket: Socket): void {
    if (this.#prepare(socket)) void this.#onConnection(socket);
  }

  accept(socket: Socket): void {
    if (!this.#options.plain) {
      socket.destroy();
      return;
    }
    if (!this.#prepare(socket)) return;
    if (!this.#admit(socket)) {
      socket.destroy();
      return;
    }
    this.#serve(socket, { isOurs: false, early: Buffer.alloc(0), firstMs: this.#idleMs });
  }

  async abort(): Promise<void> {
    this.#isClosing = true;
    const closed = this.#stopListening();
    for (const socket of this.#sockets.values()) socket.destroy();
    await Promise.all(this.#serving.values());
    this.#secure?.[Symbol.dispose]();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    const closed = this.#stopListening();
    for (const connection of this.#serving.keys()) connection.finish();
    const timer = setTimeout(() => {
      for (const socket of this.#sockets.values()) socket.destroy();
    }, this.#options.closeMs ?? 5_000);
    await Promise.all(this.#serving.values());
    clearTimeout(timer);
    for (const socket of this.#sockets.values()) socket.destroy(); // those that never asked
    this.#secure?.[Symbol.dispose]();
    await closed;
  }

  /** Makes a socket that was accepted elsewhere like our own; false: there is no room for it, and it is closed. */
  #prepare(socket: Socket): boolean {
    if (this.#isClosing || this.#sockets.size >= this.#socketCountMax) {
      this.#refusedCount += 1;
      socket.destroy();
      return false;
    }
    socket.allowHalfOpen = true;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, SOCKET_OPTIONS.keepAliveInitialDelay);
    return true;
  }

  get #idleMs(): number {
    return this.#options.idleMs ?? IDLE_MS;
  }

  /** False: the address has begun too many of late. */
  #admit(socket: Socket): boolean {
    if (!this.#rates.take(socket.remoteAddress ?? "", performance.now())) {
      this.#refusedCount += 1;
      return false;
    }
    const name = nameOf(socket);
    this.#sockets.set(name, socket);
    this.#halfOpen.enter(socket);
    socket.on("error", () => {}); // "close" follows, and there is nobody to tell
    socket.once("close", () => {
      this.#halfOpen.leave(socket);
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name);
    });
    return true;
  }

  async #onConnection(socket: Socket): Promise<void> {
    if (!this.#admit(socket)) {
      socket.destroy();
      return;
    }
    const startedAt = performance.now();
    const recognised = await recogniseProtocol(socket, this.#idleMs);
    const { plain } = this.#options;
    if (recognised === undefined || this.#isClosing) {
      socket.destroy();
    } else if (recognised.protocol === "tls" && this.#secure !== undefined) {
      socket.unshift(recognised.early);
      this.#secure.accept(socket);
    } else if (recognised.protocol === "vortex" && plain) {
      const firstMs = this.#idleMs - (performance.now() - startedAt);
      this.#serve(socket, { isOurs: false, early: recognised.early, firstMs });
    } else {
      socket.destroy();
    }
  }

  #serve(socket: Socket, options: Pick<ChildConnectionInit, "isOurs" | "early" | "firstMs">): void {
    const name = nameOf(socket);
    const ip = socket.remoteAddress ?? "";
    /** Of one that has asked: why nothing is served on it, and what takes its place back. */
    let place: Place | undefined;
    const connection = new ChildConnection({
      ...options,
      socket,
      ip,
      handler: this.#handler,
      idleMs: this.#idleMs,
      stallMs: this.#limits.stallMs,
      onRequest: () => {
        this.#idle.delete(connection);
        place ??= this.#take(name, ip);
        return this.#isClosing ? "the parent is closing" : place.busy;
      },
      onIdle: () => this.#idle.add(connection, ip),
      logger: this.#options.logger,
    });
    const serving = connection.serve();
    this.#serving.set(connection, serving);
    void serving.then(() => {
      place?.release();
      this.#idle.delete(connection);
      this.#serving.delete(connection);
    });
  }

  /** A connection has asked for the first time. */
  #take(name: string, ip: string): Place {
    const raw = this.#sockets.get(name);
    if (raw !== undefined) this.#halfOpen.leave(raw);
    const excess = this.#counts.excess(ip);
    const victim =
      excess === undefined ? undefined : this.#idle.oldest(excess === "all" ? undefined : ip);
    const release = this.#counts.add(ip);
    if (excess !== undefined && victim === undefined) {
      this.#refusedCount += 1;
      const whose = excess === "all" ? "" : " from this address";
      return { busy: `there are too many connections${whose}`, release };
    }
    if (victim !== undefined) {
      this.#idle.delete(victim);
      victim.finish();
    }
    this.#acceptedCount += 1;
    return { busy: undefined, release };
  }

  async #stopListening(): Promise<void> {
    if (!this.#listener.listening) return;
    await new Promise<void>((resolve) => {
      this.#listener.close(() => resolve());
    });
  }

  #createSecure(tls: Tls): TlsAcceptor {
    const { logger, now } = this.#options;
    try {
      return new TlsAcceptor({
        tls: toTlsSource(tls),
        toContext: secureOptions,
        alpn: ALPN,
        callerNames: [NODE_CERTIFICATE_NAME],
        handshakeMs: HANDSHAKE_MS,
        onSecure: (socket) => {
          if (socket.isSessionReused()) this.#resumedCount += 1;
          this.#serve(socket, { isOurs: true, early: Buffer.alloc(0), firstMs: this.#idleMs });
        },
        onFailed: (error) => logger?.debug({ err: error }, "Cannot trust a child"),
        logger,
        now,
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TcpError("ERR_TLS_CONFIG", `Cannot use certificate and key: ${reason}`, { cause });
    }
  }
}

interface Place {
  readonly busy: string | undefined;
  readonly release: () => void;
}

/** A connection's other end: the same before and after the handshake, and of one connection at a time. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function listenError({ ip, port }: ServerAddress, cause: unknown): TcpError {
  const isInUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
  const reason = cause instanceof Error ? cause.message : String(cause);
  return isInUse
    ? new TcpError(
        "ERR_ADDRESS_IN_USE",
        `Cannot serve at ${ip} port ${port}: another process is serving there`,
        { cause },
      )
    : new TcpError("ERR_LISTEN_FAILED", `Cannot serve at ${ip} port ${port}: ${reason}`, { cause });
}
