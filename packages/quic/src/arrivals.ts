import { randomBytes } from "node:crypto";
import type { HostPort, NativeHeader, QuicheBinding } from "./binding.ts";
import { packetLengthTo, type ResolvedOptions } from "./endpoint-options.ts";
import type { NativeConfigs } from "./native-configs.ts";
import { CONNECTION_ID_LENGTH, toKey } from "./packet-header.ts";
import { toHostPort } from "./packet-sender.ts";
import type { ConnectionInit, QuicheConnection } from "./quiche-connection.ts";
import type { UdpSocket } from "./udp-socket.ts";
import { readWish } from "./wish.ts";

/** A peer that began a handshake has this long to finish it. */
const ACCEPT_TIMEOUT_MS = 10_000;

/** Every datagram that holds an Initial packet is at least this long (RFC 9000, section 14.1). */
const INITIAL_LENGTH_MIN = 1200;
/** A client's first destination id is at least this long (RFC 9000, section 7.2). */
const FIRST_ID_LENGTH_MIN = 8;
const PACKET_TYPE_INITIAL = 0;

/** What arrivals need from their endpoint. */
export interface ArrivalsHost {
  readonly options: ResolvedOptions;
  readonly quiche: QuicheBinding;
  readonly socket: UdpSocket;
  readonly local: HostPort;
  /** Whether connections are taken at all, at this moment. */
  readonly isTaking: boolean;
  readonly configs: NativeConfigs;
  /** Whether there is room for one more, if only to be told that there is none. */
  canAdopt(): boolean;
  adopt(init: ConnectionInit): QuicheConnection;
  /** Turns a connection away that was adopted beyond the limit. */
  settle(connection: QuicheConnection): void;
}

/** Packets for no connection that is known: the first of new ones, and everything that is lost or forged. */
export class Arrivals {
  readonly #host: ArrivalsHost;

  constructor(host: ArrivalsHost) {
    this.#host = host;
  }

  /** False if it is nothing to answer. */
  receive(datagram: Buffer, ip: string, port: number): boolean {
    const { quiche } = this.#host;
    const isLong = ((datagram[0] ?? 0) & 0x80) !== 0;
    if (!isLong || !this.#host.isTaking) return false;
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
    if (header.ty !== PACKET_TYPE_INITIAL || header.dcid.byteLength < FIRST_ID_LENGTH_MIN)
      return false;
    return this.#take(datagram, header, ip, port);
  }

  #negotiateVersion(header: NativeHeader, ip: string, port: number): void {
    const { socket, quiche, options } = this.#host;
    const buffer = socket.takeBuffer();
    try {
      const length = quiche.negotiateVersion(header.scid, header.dcid, buffer);
      socket.send(buffer, length, length, ip, port);
    } catch (error) {
      socket.returnBuffer(buffer);
      options.logger?.debug({ err: error, ip }, "Cannot answer a QUIC packet of another version");
    }
  }

  #take(datagram: Buffer, header: NativeHeader, ip: string, port: number): boolean {
    const { quiche, options, local } = this.#host;
    if (!this.#host.canAdopt()) return false;
    const sourceId = randomBytes(CONNECTION_ID_LENGTH);
    const packetLength = packetLengthTo(ip, options.packetLength);
    const peer = toHostPort(ip, port);
    const { congestionControl: pinned } = options;
    const congestionControl = pinned === "auto" ? (readWish(header.scid) ?? "cubic") : pinned;
    const config = this.#host.configs.get(packetLength, congestionControl);
    const native = quiche.Connection.accept(sourceId, null, local, peer, config);
    if (options.keyLogPath !== undefined) native.setKeylog(options.keyLogPath);
    const connection = this.#host.adopt({
      native,
      packetLength,
      congestionControl,
      isDialler: false,
      remote: { ip, port },
      // Until the client has our answer it goes on using the id that it made up.
      keys: [toKey(sourceId), toKey(header.dcid)],
      handshakeTimeoutMs: ACCEPT_TIMEOUT_MS,
    });
    connection.receive(datagram, ip, port);
    this.#host.settle(connection);
    return true;
  }
}
