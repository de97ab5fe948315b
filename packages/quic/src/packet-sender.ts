import { performance } from "node:perf_hooks";
import type { HostPort, NativeConnection } from "./binding.ts";
import type { HandshakeRepeats } from "./handshake-repeats.ts";
import { PacketRepeater } from "./packet-repeater.ts";
import { PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import type { PathLength } from "./path-length.ts";
import type { QuicAddress } from "./quic.ts";
import type { UdpSocket } from "./udp-socket.ts";

/** Bytes sent a turn, up to the next full buffer: about 100 datagrams at 1350 bytes, 0.7 ms. */
const SEND_LENGTH_PER_TURN = 120_000;

/** Long packets sent by a connection that is closing, over its end: a close in each, and some repeats. */
const CLOSING_LONG_PACKETS_MAX = 16;

/** Takes a connection's datagrams out of the binding, several to a buffer, and gives them to the socket. */
export class PacketSender {
  readonly #native: NativeConnection;
  readonly #socket: UdpSocket;
  readonly #lengths: PathLength;
  #remote: QuicAddress;
  /** `#remote` as the binding spells it. */
  #target: HostPort;
  #datagramCount = 0;
  #sentLength = 0;
  readonly #repeater: PacketRepeater;
  /** How many of the next datagrams are to be repeated. */
  #repeatCount = 0;
  #isClosing = false;
  /** Since then. */
  #longPacketCount = 0;
  /** The close as it was sent, once a peer that goes on is to hear it again. */
  #close: Uint8Array[] | undefined;
  #isCloseDue = false;
  #handshake: HandshakeRepeats | undefined;

  /**
   * @param onDue when `flush` has something to send that the binding does not know of
   */
  constructor(
    native: NativeConnection,
    socket: UdpSocket,
    init: {
      readonly remote: QuicAddress;
      readonly lengths: PathLength;
      readonly handshake: HandshakeRepeats;
      readonly onDue: () => void;
    },
  ) {
    const { remote, lengths } = init;
    this.#handshake = init.handshake;
    this.#repeater = new PacketRepeater(init.onDue);
    this.#native = native;
    this.#socket = socket;
    this.#lengths = lengths;
    this.#remote = remote;
    this.#target = toHostPort(remote.ip, remote.port);
  }

  /** Where the peer was last sent to. */
  get remote(): QuicAddress {
    return this.#remote;
  }

  get datagramCount(): number {
    return this.#datagramCount;
  }

  /** Bytes in datagrams so far. */
  get sentLength(): number {
    return this.#sentLength;
  }

  /** The next `count` datagrams carry what the binding does not repeat. */
  repeatNext(count: number): void {
    this.#repeatCount = Math.max(this.#repeatCount, count);
  }

  /**
   * From here on only the close is to be sent.
   *
   * @param isPeerKnown its address is certain, and `repeatClose` does something
   */
  onClosing(isPeerKnown: boolean): void {
    this.#isClosing = true;
    if (isPeerKnown) this.#close = [];
    this.stop();
  }

  /** Sends the close again with the next `flush`: the binding sends it once, and it may be lost. */
  repeatClose(): void {
    this.#isCloseDue = this.#close !== undefined;
  }

  /** The handshake is over: nothing of it is repeated any more. */
  onEstablished(): void {
    this.#handshake = undefined;
  }

  /** Nothing is repeated any more. */
  stop(): void {
    this.#repeatCount = 0;
    this.#repeater.stop();
  }

  /**
   * Sends what there is to send, up to `lengthMax` bytes and the rest of a buffer.
   *
   * @returns true if that was used up before
   * @throws the binding's error when it cannot go on; what it had given before has been sent
   */
  flush(lengthMax: number = SEND_LENGTH_PER_TURN): boolean {
    for (const datagram of this.#repeater.takeDue()) {
      if (this.#handshake?.takeRoom(datagram.byteLength) ?? true) this.#repeat(datagram);
    }
    if (this.#isCloseDue) for (const datagram of this.#close ?? []) this.#repeat(datagram);
    this.#isCloseDue = false;
    for (const datagram of this.#handshake?.takeDue() ?? []) this.#repeat(datagram);
    if (this.#lengths.probeLength > 0 && this.#repeatCount === 0) this.#sendProbe();
    const { packetLength } = this.#lengths;
    let buffer = this.#socket.takeBuffer();
    let length = 0;
    let budget = lengthMax;
    try {
      while (budget > 0 || length > 0) {
        const room = this.#handshake?.room ?? packetLength;
        if (room < PACKET_LENGTH_MIN) break;
        const packetMax = Math.min(packetLength, room);
        const sent = this.#native.send(buffer.subarray(length, length + packetMax));
        if (sent === null) break;
        const [packet, { to }] = sent;
        if (this.#isClosing) this.#noteClosing(buffer.subarray(length, length + packet));
        this.#handshake?.onSent(buffer.subarray(length, length + packet));
        this.#datagramCount++;
        this.#sentLength += packet;
        this.#lengths.onSent(packet);
        budget -= packet;
        if (this.#repeatCount > 0) {
          this.#repeatCount--;
          this.#repeater.keep(buffer.subarray(length, length + packet));
        }
        if (to.port !== this.#target.port || to.host !== this.#target.host) {
          if (length > 0) {
            const moved = this.#socket.takeBuffer();
            moved.set(buffer.subarray(length, length + packet));
            this.#send(buffer, length, packetLength);
            buffer = moved;
            length = 0;
          }
          this.#follow(to);
        }
        length += packet;
        // Datagrams that travel in one call are all of one length but the last.
        if (packet < packetLength || length + packetLength > buffer.byteLength) {
          this.#send(buffer, length, packetLength);
          buffer = this.#socket.takeBuffer();
          length = 0;
        }
      }
    } finally {
      if (length === 0) this.#socket.returnBuffer(buffer);
      else this.#send(buffer, length, packetLength);
    }
    return budget <= 0;
  }

  /** What is due otherwise goes ahead of the probe: an acknowledgement in the same packet would take its room. */
  #sendProbe(): void {
    this.#sendAlone(this.#lengths.packetLength);
    this.#sendAlone(this.#lengths.probeLength);
    this.#lengths.onProbeTurn(performance.now());
  }

  #sendAlone(lengthMax: number): void {
    const buffer = this.#socket.takeBuffer();
    let length = 0;
    try {
      const sent = this.#native.send(buffer.subarray(0, lengthMax));
      if (sent === null) return;
      length = sent[0];
      this.#datagramCount++;
      this.#sentLength += length;
      this.#lengths.onSent(length);
      this.#follow(sent[1].to);
    } finally {
      if (length === 0) this.#socket.returnBuffer(buffer);
      else this.#send(buffer, length, length);
    }
  }

  #noteClosing(datagram: Uint8Array): void {
    if (((datagram[0] ?? 0) & 0x80) === 0) this.#close?.push(datagram.slice());
    else this.#countLong();
  }

  /** The binding can get stuck on acknowledging handshakes, and would go on for ever: see `QuicheConnection`. */
  #countLong(): void {
    this.#longPacketCount++;
    if (this.#longPacketCount > CLOSING_LONG_PACKETS_MAX) {
      throw new Error("Cannot close QUIC connection: the binding sends handshake packets only");
    }
  }

  #repeat(datagram: Uint8Array): void {
    const buffer = this.#socket.takeBuffer();
    buffer.set(datagram);
    this.#datagramCount++;
    this.#send(buffer, datagram.byteLength, datagram.byteLength);
  }

  #send(buffer: Uint8Array, length: number, segmentLength: number): void {
    this.#socket.send(buffer, length, segmentLength, this.#remote.ip, this.#remote.port);
  }

  /** The peer's address has changed, as behind a NAT that forgot it; the binding has checked the new one. */
  #follow(target: HostPort): void {
    if (target.port === this.#target.port && target.host === this.#target.host) return;
    this.#target = { host: target.host, port: target.port };
    const zone = /%.*$/.exec(this.#remote.ip)?.[0] ?? "";
    this.#remote = { ip: `${target.host}${zone}`, port: target.port };
  }
}

/** The binding knows no IPv6 zones (`fe80::1%eth0`). */
export function toHostPort(ip: string, port: number): HostPort {
  const zoneAt = ip.indexOf("%");
  return { host: zoneAt === -1 ? ip : ip.slice(0, zoneAt), port };
}
