import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { TokenBucket } from "@damselfly/limits";
import type { HostPort, NativeHeader, QuicheBinding } from "./binding.ts";
import type { ResolvedOptions } from "./endpoint-options.ts";
import { HandshakeLimits } from "./handshake-limits.ts";
import type { LengthPlan } from "./length-plan.ts";
import { logKeys } from "./log-keys.ts";
import type { NativeConfigs } from "./native-configs.ts";
import { CONNECTION_ID_LENGTH, toKey } from "./packet-header.ts";
import { toHostPort } from "./packet-sender.ts";
import type { QuicAddress, QuicEndpointStats } from "./quic.ts";
import type { ConnectionInit, QuicheConnection } from "./quiche-connection.ts";
import { RetryTokens } from "./retry-token.ts";
import type { ResetTokens } from "./stateless-reset.ts";
import type { UdpSocket } from "./udp-socket.ts";
import { readWish } from "./wish.ts";

/** A peer that began a handshake has this long to finish it. */
const ACCEPT_TIMEOUT_MS = 10_000;

/** Every datagram that holds an Initial packet is at least this long (RFC 9000, section 14.1). */
const INITIAL_LENGTH_MIN = 1200;
/** A client's first destination id is at least this long (RFC 9000, section 7.2). */
const FIRST_ID_LENGTH_MIN = 8;
/** The longest id of version 1 (RFC 9000, section 17.2). */
const ID_LENGTH_MAX = 20;
const PACKET_TYPE_INITIAL = 0;

/** Stateless resets sent; unanswered senders try again. A forger gets less out of each than he puts in. */
const RESET_RATE = { perSecond: 500, burst: 1000 } as const;

/** What arrivals need from their endpoint. */
export interface ArrivalsHost {
  readonly options: ResolvedOptions;
  readonly quiche: QuicheBinding;
  readonly socket: UdpSocket;
  readonly local: HostPort;
  /** Whether connections are taken at all, at this moment. */
  readonly isTaking: boolean;
  readonly configs: NativeConfigs;
  readonly resetTokens: ResetTokens;
  lengthsTo(ip: string): LengthPlan;
  /** Whether there is room for one more, if only to be told that there is none. */
  canAdopt(): boolean;
  countSent(datagramCount: number): void;
  adopt(init: ConnectionInit): QuicheConnection;
  dialledTo(ip: string, port: number): Iterable<QuicheConnection>;
  /** Turns a connection away that was adopted beyond the limit. */
  settle(connection: QuicheConnection): void;
}

/** Packets for no connection that is known: the first of new ones, and everything that is lost or forged. */
export class Arrivals {
  readonly #host: ArrivalsHost;
  readonly #retryTokens = new RetryTokens();
  readonly #limits: HandshakeLimits;
  readonly #resetRate = new TokenBucket(RESET_RATE, performance.now());
  #retryCount = 0;
  #resetSentCount = 0;
  #droppedHandshakeCount = 0;

  constructor(host: ArrivalsHost) {
    this.#host = host;
    this.#limits = new HandshakeLimits(host.options.limits);
  }

  get counters(): Pick<
    QuicEndpointStats,
    "retryCount" | "resetSentCount" | "droppedHandshakeCount"
  > {
    return {
      retryCount: this.#retryCount,
      resetSentCount: this.#resetSentCount,
      droppedHandshakeCount: this.#droppedHandshakeCount,
    };
  }

  /** False if it is nothing to answer. */
  receive(datagram: Buffer, ip: string, port: number): boolean {
    const isLong = ((datagram[0] ?? 0) & 0x80) !== 0;
    return isLong ? this.#receiveLong(datagram, ip, port) : this.#receiveShort(datagram, ip, port);
  }

  #receiveShort(datagram: Buffer, ip: string, port: number): boolean {
    for (const connection of this.#host.dialledTo(ip, port)) {
      if (connection.isResetBy(Buffer.from(datagram))) return true; // a copy: receiving changes it
    }
    if (!this.#host.isTaking) return false;
    const id = datagram.subarray(1, 1 + CONNECTION_ID_LENGTH);
    const packet = this.#host.resetTokens.packetFor(id, datagram.byteLength);
    if (packet === undefined || !this.#resetRate.take(performance.now())) return false;
    this.#answer({ ip, port }, (into) => {
      into.set(packet);
      return packet.byteLength;
    });
    this.#resetSentCount++;
    return true;
  }

  #receiveLong(datagram: Buffer, ip: string, port: number): boolean {
    const { quiche } = this.#host;
    if (!this.#host.isTaking) return false;
    // What is too short for an Initial is not worth parsing; and an answer must not be longer than the question.
    if (datagram.byteLength < INITIAL_LENGTH_MIN) return false;
    let header: NativeHeader;
    try {
      header = quiche.Header.fromSlice(datagram, CONNECTION_ID_LENGTH);
    } catch {
      return false; // not QUIC
    }
    if (header.version === 0) return false; // itself a version negotiation
    if (!quiche.versionIsSupported(header.version)) {
      this.#negotiateVersion(header, ip, port);
      return true;
    }
    const { dcid, scid } = header;
    if (header.ty !== PACKET_TYPE_INITIAL || dcid.byteLength < FIRST_ID_LENGTH_MIN) return false;
    if (Math.max(dcid.byteLength, scid.byteLength) > ID_LENGTH_MAX) return false;
    return this.#meet(datagram, header, ip, port);
  }

  #negotiateVersion({ scid, dcid }: NativeHeader, ip: string, port: number): void {
    const { quiche, options } = this.#host;
    try {
      this.#answer({ ip, port }, (into) => quiche.negotiateVersion(scid, dcid, into));
    } catch (error) {
      options.logger?.debug({ err: error, ip }, "Cannot answer a QUIC packet of another version");
    }
  }

  /** @param write puts a datagram into the buffer and returns its length */
  #answer({ ip, port }: QuicAddress, write: (into: Uint8Array) => number): void {
    const { socket } = this.#host;
    const buffer = socket.takeBuffer();
    let length: number;
    try {
      length = write(buffer);
    } catch (error) {
      socket.returnBuffer(buffer);
      throw error;
    }
    socket.send(buffer, length, length, ip, port);
    this.#host.countSent(1);
  }

  /** The first packet of a new connection: whether there will be one. */
  #meet(datagram: Buffer, header: NativeHeader, ip: string, port: number): boolean {
    const { token } = header;
    let originalId: Uint8Array | undefined;
    if (token !== undefined && token !== null && token.byteLength > 0) {
      originalId = this.#retryTokens.open(token, { ip, newId: header.dcid }, Date.now());
      // It was told to come with this token, so without it there is no way for it to go on.
      if (originalId === undefined) return false;
    }
    if (!this.#host.canAdopt()) return false;
    const decision = this.#limits.begin(ip, originalId !== undefined, performance.now());
    if (decision === "drop") {
      this.#droppedHandshakeCount++;
      return false;
    }
    if (decision === "retry") {
      this.#retry(header, ip, port);
      return true;
    }
    let init: ConnectionInit;
    try {
      init = this.#prepare(header, originalId, { ip, port });
    } catch (error) {
      this.#limits.end(ip);
      throw error;
    }
    this.#take(datagram, init);
    return true;
  }

  #retry({ scid, dcid, version }: NativeHeader, ip: string, port: number): void {
    const newId = randomBytes(CONNECTION_ID_LENGTH);
    const token = this.#retryTokens.seal(dcid, { ip, newId }, Date.now());
    this.#answer({ ip, port }, (into) =>
      this.#host.quiche.retry(scid, dcid, newId, token, version, into),
    );
    this.#retryCount++;
  }

  /** @param originalId what the client sent its very first packet to, if it has been told to send another one since */
  #prepare(
    header: NativeHeader,
    originalId: Uint8Array | undefined,
    remote: QuicAddress,
  ): ConnectionInit {
    const { quiche, options, local, configs, resetTokens } = this.#host;
    const { ip, port } = remote;
    // The id that a Retry named is the one the client expects (RFC 9000, section 7.3).
    const sourceId =
      originalId === undefined ? randomBytes(CONNECTION_ID_LENGTH) : Buffer.from(header.dcid);
    const lengths = this.#host.lengthsTo(ip);
    const { congestionControl: pinned } = options;
    const congestionControl = pinned === "auto" ? (readWish(header.scid) ?? "cubic") : pinned;
    const config = configs.get({
      isDialler: false,
      packetLength: lengths.max,
      congestionControl,
    });
    config.setStatelessResetToken(resetTokens.numberOf(sourceId));
    const native = quiche.Connection.accept(
      sourceId,
      originalId ?? null,
      local,
      toHostPort(ip, port),
      config,
    );
    logKeys(native, options);
    return {
      native,
      lengths,
      congestionControl,
      isDialler: false,
      remote,
      isRemoteProven: originalId !== undefined,
      // Until the client has our answer it goes on using the id that it made up.
      keys: [toKey(sourceId), toKey(header.dcid)],
      handshakeTimeoutMs: ACCEPT_TIMEOUT_MS,
    };
  }

  #take(datagram: Buffer, init: ConnectionInit): void {
    const { ip, port } = init.remote;
    const connection = this.#host.adopt(init);
    const end = (): void => this.#limits.end(ip);
    connection.established.then(end, end);
    connection.receive(datagram, ip, port);
    this.#host.settle(connection);
  }
}
