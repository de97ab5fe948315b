import { performance } from "node:perf_hooks";
import { isIPv6 } from "node:net";
import {
  assertAddress,
  assertInteger,
  closeError,
  type QuicAddress,
  type QuicConnection,
  type QuicDialOptions,
  type QuicEndpointStats,
  QuicError,
  type ResolvedOptions,
  resolveOptions,
} from "@damselfly/quic";
import { Acceptor } from "./acceptor.ts";
import type { NativeConfig, NativeConnection, NativeServer, QuinnBinding } from "./binding.ts";
import { createIdentity, type QuinnIdentity, readIdentity } from "./identity.ts";
import { loadQuinn } from "./load-quinn.ts";
import { readNativeClose } from "./native-close.ts";
import { createNativeConfig } from "./native-config.ts";
import { NativeDialler } from "./native-dialler.ts";
import type { QuinnEndpoint, QuinnEndpointOptions } from "./quinn.ts";
import { QuinnConnection, type QuinnConnectionHost } from "./quinn-connection.ts";
import { readRemote } from "./remote-identity.ts";
import { createTraffic, type Traffic } from "./traffic-meter.ts";

const DIAL_TIMEOUT_MS = 10_000;
/** Peers being told that they are turned away; one more is cut off without a word. */
const REFUSING_COUNT_MAX = 64;
/** How long a graceful close waits for finished streams to arrive. */
const FLUSH_TIMEOUT_MS = 1_000;

/** Transport error codes (RFC 9000, section 20.1; RFC 9001, section 4.8). */
const CONNECTION_REFUSED = { code: 0x2, text: "" } as const;
const ACCESS_DENIED = { code: 0x100 + 49, text: "" } as const;

/**
 * Opens a UDP port that takes connections, if `options.accept` is given, and another to dial from, when first needed.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE`, `ERR_ADDRESS`
 * @throws {RangeError | TypeError} for an option out of bounds
 */
export async function openQuinnEndpoint(options: QuinnEndpointOptions): Promise<QuinnEndpoint> {
  const resolved = resolveOptions({ ...options, tls: "insecure" });
  const identity =
    options.privateKey === undefined ? createIdentity() : readIdentity(options.privateKey);
  const quinn = loadQuinn();
  if (options.keyLogPath !== undefined) {
    options.logger?.warn(
      {},
      "TLS secrets are not logged: the native layer of quinn has no key log",
    );
  }
  const { accept, isKnownPeer, address, connectionWindow } = options;
  const configFor = (role: "dial" | "accept"): NativeConfig =>
    createNativeConfig(quinn, { options: resolved, identity, role, connectionWindow });
  if (accept === undefined) {
    return new NativeQuinnEndpoint({ quinn, options: resolved, identity, configFor });
  }
  if (isKnownPeer === undefined) {
    throw new TypeError("Cannot open QUIC endpoint: accept needs isKnownPeer beside it");
  }
  const config = configFor("accept");
  try {
    const server = new quinn.Server(config, address.ip, address.port);
    return new NativeQuinnEndpoint({
      quinn,
      options: resolved,
      identity,
      configFor,
      server,
      isKnownPeer,
    });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const { ip, port } = address;
    throw new QuicError("ERR_ADDRESS", `Cannot open UDP port ${port} on ${ip}: ${text}`, { cause });
  }
}

interface Parts {
  readonly quinn: QuinnBinding;
  readonly options: ResolvedOptions;
  readonly identity: QuinnIdentity;
  readonly configFor: (role: "dial" | "accept") => NativeConfig;
  readonly server?: NativeServer;
  readonly isKnownPeer?: (peerKey: string) => boolean;
}

class NativeQuinnEndpoint implements QuinnEndpoint, QuinnConnectionHost {
  readonly address: QuicAddress;
  readonly peerKey: string;
  readonly options: ResolvedOptions;
  readonly traffic: Traffic = createTraffic();
  readonly #server: NativeServer | undefined;
  readonly #acceptor: Acceptor | undefined;
  readonly #dialler: NativeDialler;
  readonly #isKnownPeer: (peerKey: string) => boolean;
  readonly #connections = new Set<QuinnConnection>();
  /** Being told that they are turned away. */
  readonly #refusing = new Set<QuinnConnection>();
  /** Over, but the native connection is not yet. */
  readonly #lingering = new Set<QuinnConnection>();
  /** Ends the dials that wait. */
  readonly #dials = new Set<AbortController>();
  #closing: Promise<void> | undefined;
  #onQuiet: (() => void) | undefined;
  #dialledCount = 0;
  #acceptedCount = 0;
  #refusedCount = 0;

  constructor({ quinn, options, identity, configFor, server, isKnownPeer }: Parts) {
    this.options = options;
    this.peerKey = identity.peerKey;
    this.#isKnownPeer = isKnownPeer ?? (() => false);
    const { ip } = options.address;
    this.address = { ip, port: server?.port() ?? 0 };
    const family = isIPv6(ip) ? 1 : 0;
    this.#dialler = new NativeDialler(() => new quinn.Client(configFor("dial"), family));
    this.#server = server;
    if (server !== undefined) {
      this.#acceptor = new Acceptor({
        server,
        onConnection: (native) => this.#take(native),
        handshakeMs: options.idleTimeoutMs,
        now: () => performance.now(),
      });
    }
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  stats(): QuicEndpointStats {
    for (const connection of [...this.#connections, ...this.#lingering]) connection.sample();
    const { traffic } = this;
    return {
      connectionCount: this.#connections.size,
      drainingConnectionCount: this.#lingering.size,
      dialledCount: this.#dialledCount,
      acceptedCount: this.#acceptedCount,
      refusedCount: this.#refusedCount,
      // Its limits, Retry and resets are its own affair, of which it tells nothing.
      droppedHandshakeCount: 0,
      retryCount: 0,
      resetSentCount: 0,
      earlyAcceptedCount: 0,
      earlyRefusedCount: 0,
      receivedDatagramCount: traffic.receivedDatagramCount,
      sentDatagramCount: traffic.sentDatagramCount,
      sendCallCount: traffic.sendCallCount,
      sendErrorCount: 0,
      receiveCallCount: traffic.receiveCallCount,
      datagramsPerSendCall: traffic.sentDatagramCount / Math.max(1, traffic.sendCallCount),
      datagramsPerReceiveCall:
        traffic.receivedDatagramCount / Math.max(1, traffic.receiveCallCount),
      droppedDatagramCount: 0,
    };
  }

  async dial(target: QuicAddress, options: QuicDialOptions = {}): Promise<QuicConnection> {
    const { signal, timeoutMs = DIAL_TIMEOUT_MS, peerKey } = options;
    signal?.throwIfAborted();
    assertAddress(target, "target");
    assertInteger("timeoutMs", timeoutMs, 1, 2 ** 31 - 1);
    if (peerKey === undefined) throw new TypeError("Cannot dial: the peer's key is needed");
    const what = `Cannot connect to ${target.ip} port ${target.port}`;
    if (this.#closing !== undefined) {
      throw new QuicError("ERR_CLOSED", `${what}: this endpoint is closed`);
    }
    if (target.port === 0 || isIPv6(target.ip) !== isIPv6(this.address.ip)) {
      throw new QuicError("ERR_UNREACHABLE", `${what} from ${this.address.ip}: no such route`);
    }
    if (this.#connections.size + this.#dials.size >= this.options.limits.connectionCountMax) {
      throw new QuicError("ERR_REFUSED", `${what}: this endpoint is at its limit of connections`);
    }
    const startedAt = performance.now();
    const native = await this.#dialNative(target, { what, signal, timeoutMs });
    const remote = readRemote(native);
    if (remote.peerKey !== peerKey) {
      native.abort();
      throw new QuicError("ERR_UNTRUSTED", `${what}: it holds another key than ${peerKey}`);
    }
    const connection = new QuinnConnection(this, {
      native,
      isDialler: true,
      remote: remote.address,
      peerKey,
      handshakeMs: performance.now() - startedAt,
    });
    this.#connections.add(connection);
    await connection.start();
    const failure = connection.failure(what);
    if (failure !== undefined) throw failure;
    this.#dialledCount++;
    return connection;
  }

  useTls(): never {
    throw new TypeError("Cannot use certificates: peers are known by their keys here");
  }

  /** Those that have dialled: whose key it is that was dialled, the dialler knows best. */
  recheckPeers(): void {
    for (const connection of this.#connections) {
      if (connection.isDialler || this.#isKnownPeer(connection.peerKey)) continue;
      connection.closeAs({ by: "here", isApplication: false, ...ACCESS_DENIED });
    }
  }

  async #dialNative(
    target: QuicAddress,
    options: {
      readonly what: string;
      readonly signal: AbortSignal | undefined;
      readonly timeoutMs: number;
    },
  ): Promise<NativeConnection> {
    const { what, signal, timeoutMs } = options;
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer = setTimeout(
      () =>
        controller.abort(
          new QuicError("ERR_DIAL_TIMEOUT", `${what}: no finished handshake in time`),
        ),
      timeoutMs,
    );
    this.#dials.add(controller);
    try {
      return await this.#dialler.dial(target, controller.signal);
    } catch (error) {
      controller.signal.throwIfAborted();
      throw dialError(error, what);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#dials.delete(controller);
    }
  }

  // What arrives.

  #take(native: NativeConnection): void {
    const remote = readRemote(native);
    const refusal = this.#refusalOf(remote.peerKey);
    if (refusal !== undefined) {
      this.#refusedCount++;
      this.options.logger?.debug(
        { remote: remote.address, peerKey: remote.peerKey },
        refusal === ACCESS_DENIED
          ? "A peer of an unknown key is refused"
          : "A peer is refused at the limit of connections",
      );
      if (this.#refusing.size >= REFUSING_COUNT_MAX) {
        native.abort();
        return;
      }
    }
    const connection = new QuinnConnection(this, {
      native,
      isDialler: false,
      remote: remote.address,
      peerKey: remote.peerKey,
      handshakeMs: 0,
      ...(refusal === undefined ? {} : { refusal }),
    });
    (refusal === undefined ? this.#connections : this.#refusing).add(connection);
    void connection.start();
  }

  #refusalOf(peerKey: string): { code: number; text: string } | undefined {
    if (!this.#isKnownPeer(peerKey)) return ACCESS_DENIED;
    const isFull = this.#connections.size >= this.options.limits.connectionCountMax;
    return isFull ? CONNECTION_REFUSED : undefined;
  }

  // What connections call.

  onAccepted(connection: QuinnConnection): void {
    this.#acceptedCount++;
    try {
      this.options.accept?.(connection);
    } catch (error) {
      this.options.logger?.warn({ err: error }, "The handler of a new QUIC connection threw");
      connection.close(0);
    }
  }

  onEnded(connection: QuinnConnection): void {
    if (this.#connections.delete(connection)) this.#lingering.add(connection);
  }

  onRemoved(connection: QuinnConnection): void {
    this.#lingering.delete(connection);
    this.#refusing.delete(connection);
    if (this.#lingering.size === 0) this.#onQuiet?.();
  }

  // The end.

  /** The native layer closes aloud: peers hear of it, unlike with other endpoints. */
  abort(): Promise<void> {
    const closing = this.#shut();
    this.#closing ??= closing;
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#acceptor?.stop();
    const connections = [...this.#connections];
    await Promise.all(connections.map((connection) => connection.flushed(FLUSH_TIMEOUT_MS)));
    for (const connection of this.#connections) connection.close(0);
    // Each ends when its peer has answered, or after its time to linger.
    if (this.#lingering.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onQuiet = resolve;
      });
    }
    await this.#shut();
  }

  async #shut(): Promise<void> {
    this.#acceptor?.stop();
    const reason = new QuicError("ERR_CLOSED", "The QUIC endpoint is closed");
    for (const dial of this.#dials) dial.abort(reason);
    for (const connection of [...this.#connections, ...this.#refusing, ...this.#lingering]) {
      connection.abort();
    }
    this.#dialler.close();
    await this.#server?.abort();
  }
}

function dialError(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || error instanceof QuicError) return error;
  if (error.message.startsWith("invalid remote address")) {
    return new QuicError("ERR_UNREACHABLE", `${what}: ${error.message}`, { cause: error });
  }
  const reason = readNativeClose(error.message);
  if (reason.by !== "idle-timeout") return closeError(reason, what);
  return new QuicError("ERR_DIAL_TIMEOUT", `${what}: no finished handshake in time`, {
    cause: error,
  });
}
