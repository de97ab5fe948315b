import { isIPv6 } from "node:net";
import { Arrivals, type ArrivalsHost } from "./arrivals.ts";
import type { HostPort, QuicheBinding } from "./binding.ts";
import { closeError } from "./close-reason.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";
import {
  assertAddress,
  PACKET_LENGTH_MIN,
  resolveOptions,
  type ResolvedOptions,
} from "./endpoint-options.ts";
import { QuicError } from "./errors.ts";
import { type LengthPlan, planLengths } from "./length-plan.ts";
import { prepareKeyLog } from "./key-log-file.ts";
import { loadQuiche } from "./load-quiche.ts";
import { ConnectionTable } from "./connection-table.ts";
import { localInterfaces } from "./local-interfaces.ts";
import { createCredentials } from "./native-config.ts";
import { NativeConfigs } from "./native-configs.ts";
import { createOutgoing, type OutgoingHost } from "./outgoing.ts";
import { readDestinationId } from "./packet-header.ts";
import type {
  QuicAddress,
  QuicConnection,
  QuicDialOptions,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicEndpointStats,
  QuicTls,
} from "./quic.ts";
import { type ConnectionHost, type ConnectionInit, QuicheConnection } from "./quiche-connection.ts";
import { createResetKey, ResetTokens } from "./stateless-reset.ts";
import type { UdpSocket, UdpSocketOptions } from "./udp-socket.ts";

/** Connections being turned away at once; beyond it their packets are dropped unanswered. */
const REFUSING_COUNT_MAX = 64;
/** Connections served before the event loop gets a look at its sockets and timers. */
const TURNS_PER_TICK = 16;
/** So long after its certificate has run out a connection may still be there, at most. */
const SWEEP_MS = 30_000;
/** How long a graceful close waits for finished streams to be acknowledged. */
const FLUSH_TIMEOUT_MS = 1_000;

/**
 * Opens a UDP port that speaks QUIC: it takes connections if `options.accept` is given, and dials in any case.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE`, `ERR_TLS_CONFIG`, `ERR_ADDRESS`
 * @throws {RangeError} for an option out of bounds
 */
export async function openQuicEndpoint(options: QuicEndpointOptions): Promise<QuicEndpoint> {
  const given = resolveOptions(options);
  const quiche = await loadQuiche();
  const resolved = { ...given, keyLogPath: prepareKeyLog(given.keyLogPath, given.logger) };
  const endpoint = new QuicheEndpoint(
    quiche,
    new NativeConfigs(quiche, createCredentials(resolved, resolved.tls), resolved),
    resolved,
  );
  try {
    await endpoint.bind();
  } catch (cause) {
    const { ip, port } = options.address;
    throw new QuicError(
      "ERR_ADDRESS",
      `Cannot open UDP port ${port} on ${ip}: ${messageOf(cause)}`,
      {
        cause,
      },
    );
  }
  return endpoint;
}

/**
 * The loop: datagrams are decrypted as they come, which marks their connection; once a burst each marked
 * connection gets a turn, and those with work left queue up again behind the others.
 */
class QuicheEndpoint implements QuicEndpoint, ConnectionHost, ArrivalsHost, OutgoingHost {
  readonly options: ResolvedOptions;
  readonly quiche: QuicheBinding;
  readonly resetTokens: ResetTokens;
  readonly #arrivals: Arrivals;
  readonly configs: NativeConfigs;
  tls: QuicTls | "insecure";
  readonly #connections = new Set<QuicheConnection>();
  readonly #table = new ConnectionTable();
  /** Being told that there is no room for them. */
  readonly #refusing = new Set<QuicheConnection>();
  /** Over, but kept for their late packets; they count as gone. */
  readonly #draining = new Set<QuicheConnection>();
  #socket: UdpSocket | undefined;
  #local: HostPort = { host: "", port: 0 };
  #queue: QuicheConnection[] = [];
  #isTickPlanned = false;
  #closing: Promise<void> | undefined;
  /** Looks for peers whose certificates have run out. */
  #sweep: NodeJS.Timeout | undefined;
  #dialledCount = 0;
  #acceptedCount = 0;
  #refusedCount = 0;
  #earlyAcceptedCount = 0;
  #earlyRefusedCount = 0;
  #receivedDatagramCount = 0;
  #droppedDatagramCount = 0;
  #sentDatagramCount = 0;

  constructor(quiche: QuicheBinding, configs: NativeConfigs, options: ResolvedOptions) {
    this.quiche = quiche;
    this.configs = configs;
    this.options = options;
    this.tls = options.tls;
    this.resetTokens = new ResetTokens(options.resetKey ?? createResetKey(options.tls));
    this.#arrivals = new Arrivals(this);
  }

  async bind(): Promise<void> {
    const { address, bufferLength, logger } = this.options;
    const socketOptions: UdpSocketOptions = {
      address,
      bufferLength,
      onMessage: (datagram, ip, port) => this.#onMessage(datagram, ip, port),
      onError: (error, ip, port, length) => this.#onError(error, ip, port, length),
      onSmallBuffer: (granted) => {
        logger?.warn(
          { asked: bufferLength, granted },
          `The kernel gives QUIC small socket buffers and bursts will be lost: raise them with ` +
            `sysctl net.core.rmem_max=${bufferLength} net.core.wmem_max=${bufferLength}`,
        );
      },
      isOwnId: (key) => this.#table.has(key),
      onPlain: (cause) => logger?.debug({ err: cause }, "QUIC datagrams travel one by one"),
    };
    this.#socket = await udpSocketFactory(this.options.udp)(socketOptions);
    // The destination address of a datagram is not known under a wildcard: one constant stands for all of ours.
    this.#local = { host: this.#socket.address.ip, port: this.#socket.address.port };
    if (this.tls === "insecure") return;
    this.#sweep = setInterval(() => this.#closeExpired(), SWEEP_MS).unref();
  }

  get socket(): UdpSocket {
    if (this.#socket === undefined) throw new Error("Cannot use QUIC endpoint: it is not bound");
    return this.#socket;
  }

  get local(): HostPort {
    return this.#local;
  }

  get address(): QuicAddress {
    return this.socket.address;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  stats(): QuicEndpointStats {
    const { counters } = this.socket;
    return {
      connectionCount: this.#connections.size,
      drainingConnectionCount: this.#draining.size,
      dialledCount: this.#dialledCount,
      acceptedCount: this.#acceptedCount,
      refusedCount: this.#refusedCount,
      ...this.#arrivals.counters,
      earlyAcceptedCount: this.#earlyAcceptedCount,
      earlyRefusedCount: this.#earlyRefusedCount,
      receivedDatagramCount: this.#receivedDatagramCount,
      sentDatagramCount: this.#sentDatagramCount,
      ...counters,
      datagramsPerSendCall: this.#sentDatagramCount / Math.max(1, counters.sendCallCount),
      datagramsPerReceiveCall: this.#receivedDatagramCount / Math.max(1, counters.receiveCallCount),
      droppedDatagramCount: this.#droppedDatagramCount,
    };
  }

  async dial(target: QuicAddress, options: QuicDialOptions = {}): Promise<QuicConnection> {
    const { signal } = options;
    signal?.throwIfAborted();
    assertAddress(target, "target");
    const what = `Cannot connect to ${target.ip} port ${target.port}`;
    if (this.#closing !== undefined) {
      throw new QuicError("ERR_CLOSED", `${what}: this endpoint is closed`);
    }
    if (target.port === 0 || isIPv6(target.ip) !== isIPv6(this.#local.host)) {
      throw new QuicError("ERR_UNREACHABLE", `${what} from ${this.#local.host}: no such route`);
    }
    if (this.#isFull) {
      throw new QuicError("ERR_REFUSED", `${what}: this endpoint is at its limit of connections`);
    }
    const connection = this.adopt(createOutgoing(this, target, options));
    this.touch(connection);
    if (connection.isEarly) return connection;
    const onAbort = (): void =>
      connection.cancel(new QuicError("ERR_CLOSED", `${what}: given up on this side`));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await connection.established;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
    signal?.throwIfAborted();
    const failure = connection.failure(what);
    if (failure !== undefined) throw failure;
    return connection;
  }

  useTls(tls: QuicTls): void {
    if (this.tls === "insecure") {
      throw new TypeError("Cannot use certificates: this endpoint was opened without any");
    }
    this.configs.useCredentials(createCredentials(this.options, tls));
    this.tls = tls;
    this.recheckPeers();
  }

  recheckPeers(): void {
    for (const connection of this.#connections) connection.recheckPeer();
  }

  lengthsTo(ip: string): LengthPlan {
    return planLengths(ip, {
      wanted: this.options.packetLength,
      localIp: this.local.host,
      isFragmentFree: this.socket.isFragmentFree,
      interfaces: localInterfaces(),
    });
  }

  // What arrives.

  #onMessage(datagram: Buffer, ip: string, port: number): void {
    this.#receivedDatagramCount++;
    const id = readDestinationId(datagram);
    const connection = id === undefined ? undefined : this.#table.find(id);
    if (connection === undefined) {
      if (!this.#meet(datagram, ip, port)) this.#droppedDatagramCount++;
      return;
    }
    try {
      connection.receive(datagram, ip, port);
    } catch (error) {
      this.#giveUp(connection, error);
    }
  }

  #meet(datagram: Buffer, ip: string, port: number): boolean {
    try {
      return this.#arrivals.receive(datagram, ip, port);
    } catch (error) {
      this.options.logger?.warn({ err: error, ip, port }, "Cannot take a QUIC connection");
      return false;
    }
  }

  get isTaking(): boolean {
    return this.#closing === undefined && this.options.accept !== undefined;
  }

  dialledTo(ip: string, port: number): Iterable<QuicheConnection> {
    return this.#table.dialledTo(ip, port);
  }

  addKey(connection: QuicheConnection, key: string): void {
    this.#table.addKey(connection, key);
  }

  deleteKey(connection: QuicheConnection, key: string): void {
    this.#table.deleteKey(connection, key);
  }

  canAdopt(): boolean {
    return !this.#isFull || this.#refusing.size < REFUSING_COUNT_MAX;
  }

  adopt(init: ConnectionInit): QuicheConnection {
    const connection = new QuicheConnection(this, init);
    (this.#isFull ? this.#refusing : this.#connections).add(connection);
    this.#table.add(connection);
    return connection;
  }

  settle(connection: QuicheConnection): void {
    if (!this.#refusing.has(connection)) return;
    this.#refusedCount++;
    connection.refuse();
  }

  get #isFull(): boolean {
    return this.#connections.size >= this.options.limits.connectionCountMax;
  }

  #onError(error: Error, ip: string, port: number, length: number): void {
    this.options.logger?.debug({ err: error, ip, port, length }, "Cannot send a datagram");
    if ("code" in error && error.code === "EMSGSIZE" && length > PACKET_LENGTH_MIN) {
      for (const connection of this.#connections) {
        const { remoteAddress } = connection;
        if (remoteAddress.ip === ip && remoteAddress.port === port) connection.onTooLong(length);
      }
      return; // handshakes are in shorter ones
    }
    for (const connection of this.#connections) {
      const { remoteAddress } = connection;
      if (!connection.isDialler || !connection.isInHandshake) continue;
      if (remoteAddress.ip !== ip || remoteAddress.port !== port) continue;
      connection.cancel(
        new QuicError("ERR_UNREACHABLE", `Cannot connect to ${ip} port ${port}: ${error.message}`, {
          cause: error,
        }),
      );
    }
  }

  #closeExpired(): void {
    const now = Date.now();
    for (const connection of this.#connections) {
      if (connection.certificatesExpireAt <= now) connection.recheckPeer();
    }
  }

  // What connections call.

  touch(connection: QuicheConnection): void {
    if (!connection.isQueued) {
      connection.isQueued = true;
      this.#queue.push(connection);
    }
    if (this.#isTickPlanned) return;
    this.#isTickPlanned = true;
    setImmediate(() => this.#tick());
  }

  #tick(): void {
    this.#isTickPlanned = false;
    const batch = this.#queue.splice(0, TURNS_PER_TICK);
    for (const connection of batch) {
      connection.isQueued = false;
      if (this.#turn(connection)) this.touch(connection);
    }
    if (this.#queue.length > 0 && !this.#isTickPlanned) {
      this.#isTickPlanned = true;
      setImmediate(() => this.#tick());
    }
  }

  #turn(connection: QuicheConnection): boolean {
    try {
      return connection.turn();
    } catch (error) {
      this.#giveUp(connection, error);
      return false;
    }
  }

  /** What goes wrong with one connection, in the binding or here, must not end the others with the process. */
  #giveUp(connection: QuicheConnection, cause: unknown): void {
    const { ip, port } = connection.remoteAddress;
    const text = `Cannot go on with the QUIC connection with ${ip} port ${port}: ${messageOf(cause)}`;
    this.options.logger?.warn({ err: cause, ip, port }, "A QUIC connection failed and is dropped");
    connection.drop(new QuicError("ERR_CONNECTION_LOST", text, { cause }));
  }

  onEstablished(connection: QuicheConnection): void {
    if (connection.isDialler) this.#dialledCount++;
    else this.#acceptedCount++;
    if (connection.earlyData === "accepted") this.#earlyAcceptedCount++;
    if (connection.earlyData === "refused") this.#earlyRefusedCount++;
  }

  onOpen(connection: QuicheConnection): void {
    if (connection.isDialler) return;
    try {
      this.options.accept?.(connection);
    } catch (error) {
      this.options.logger?.warn({ err: error }, "The handler of a new QUIC connection threw");
      connection.close(0);
    }
  }

  onEnded(connection: QuicheConnection): void {
    if (this.#connections.delete(connection)) this.#draining.add(connection);
  }

  onRemoved(connection: QuicheConnection): void {
    this.#draining.delete(connection);
    this.#refusing.delete(connection);
    this.#table.delete(connection);
    const { closeReason } = connection;
    if (closeReason === undefined || connection.isDialler) return;
    this.options.logger?.debug(
      { remote: connection.remoteAddress, reason: closeError(closeReason, "QUIC").message },
      "A QUIC connection ended",
    );
  }

  countSent(datagramCount: number): void {
    this.#sentDatagramCount += datagramCount;
  }

  // The end.

  #all(): QuicheConnection[] {
    return [...this.#connections, ...this.#refusing, ...this.#draining];
  }

  abort(): Promise<void> {
    clearInterval(this.#sweep);
    const cause = new QuicError("ERR_CLOSED", "The QUIC endpoint was closed abruptly");
    this.#closing = this.socket.close();
    for (const connection of this.#all()) connection.drop(cause);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#sweep);
    const connections = this.#all();
    await Promise.all(connections.map((connection) => connection.flushed(FLUSH_TIMEOUT_MS)));
    for (const connection of connections) {
      connection.close(0);
      while (this.#turn(connection)); // the close frame leaves
      connection.drop(new QuicError("ERR_CLOSED", "The QUIC endpoint is closed"));
    }
    await this.socket.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
