import type { QuicAddress } from "../quic.ts";
import {
  SEND_BUFFER_LENGTH,
  type UdpSocket,
  type UdpSocketFactory,
  type UdpSocketOptions,
} from "../udp-socket.ts";
import { createRandom } from "./random.ts";

/** Shares are from 0 to 1. */
export interface MemoryNetworkOptions {
  /** The same fates for the same start value, an integer from 1, as long as the same datagrams are sent. */
  readonly start?: number;
  /** The share of datagrams that get lost; those of handshakes never do, for that costs a second each. */
  readonly loss?: number;
  /** The share that arrives twice. */
  readonly repeat?: number;
  /** The share that is overtaken by later ones. */
  readonly delay?: number;
}

export interface Datagram {
  readonly bytes: Buffer;
  readonly from: QuicAddress;
  readonly to: QuicAddress;
}

/** How many rounds a delayed datagram may be late. */
const ROUNDS_LATE_MAX = 3;

/**
 * A network without a kernel: datagrams travel from socket to socket in turns of the event loop. Nothing is random
 * but by the start value, so that what was seen once can be seen again, up to the timers of those who use it.
 */
export class MemoryNetwork {
  /** Sees every datagram before its fate is decided; false loses it. */
  onDatagram: ((datagram: Datagram) => boolean) | undefined;
  readonly #options: MemoryNetworkOptions;
  readonly #random: () => number;
  readonly #sockets = new Map<string, (bytes: Buffer, from: QuicAddress) => void>();
  /** Under way: what arrives in the next round, the one after it, and so on. */
  readonly #rounds: Datagram[][] = [];
  #isRoundPlanned = false;
  #nextPort = 1024;

  constructor(options: MemoryNetworkOptions = {}) {
    this.#options = options;
    this.#random = createRandom(options.start ?? 1);
  }

  /** Opens a socket here: what `QuicEndpointOptions.udp` takes. */
  readonly open: UdpSocketFactory = (options) => {
    const address = { ...options.address, port: options.address.port || this.#nextPort++ };
    const key = keyOf(address);
    if (this.#sockets.has(key)) return Promise.reject(new Error(`bind EADDRINUSE ${key}`));
    return Promise.resolve(this.#createSocket(address, key, options));
  };

  /** Sends a datagram that no socket has sent. */
  inject(datagram: Datagram): void {
    const { loss = 0, repeat = 0 } = this.#options;
    const isOfHandshake = ((datagram.bytes[0] ?? 0) & 0x80) !== 0;
    if (this.#random() < loss && !isOfHandshake) return;
    this.#plan(datagram);
    if (this.#random() < repeat) this.#plan(datagram);
  }

  #createSocket(address: QuicAddress, key: string, options: UdpSocketOptions): UdpSocket {
    const counters = { sendCallCount: 0, sendErrorCount: 0, receiveCallCount: 0 };
    this.#sockets.set(key, (bytes, from) => {
      counters.receiveCallCount++;
      options.onMessage(bytes, from.ip, from.port);
    });
    return {
      address,
      counters,
      isFragmentFree: true,
      takeBuffer: () => new Uint8Array(SEND_BUFFER_LENGTH),
      returnBuffer: () => undefined,
      send: (buffer, length, segmentLength, ip, port) => {
        if (!this.#sockets.has(key)) return;
        counters.sendCallCount++;
        for (let offset = 0; offset < length; offset += segmentLength) {
          const bytes = Buffer.from(
            buffer.subarray(offset, Math.min(offset + segmentLength, length)),
          );
          const datagram = { bytes, from: address, to: { ip, port } };
          if (this.onDatagram?.(datagram) !== false) this.inject(datagram);
        }
      },
      close: () => {
        this.#sockets.delete(key);
        return Promise.resolve();
      },
    };
  }

  #plan(datagram: Datagram): void {
    const { delay = 0 } = this.#options;
    const isLate = this.#random() < delay;
    const round = isLate ? 1 + Math.floor(this.#random() * ROUNDS_LATE_MAX) : 0;
    while (this.#rounds.length <= round) this.#rounds.push([]);
    this.#rounds[round]?.push(datagram);
    this.#planRound();
  }

  #planRound(): void {
    if (this.#isRoundPlanned || this.#rounds.length === 0) return;
    this.#isRoundPlanned = true;
    setImmediate(() => {
      this.#isRoundPlanned = false;
      for (const datagram of this.#rounds.shift() ?? []) this.#deliver(datagram);
      this.#planRound();
    });
  }

  #deliver({ bytes, from, to }: Datagram): void {
    // Whoever receives it decrypts it in place, and it may arrive twice.
    this.#sockets.get(keyOf(to))?.(Buffer.from(bytes), from);
  }
}

function keyOf({ ip, port }: QuicAddress): string {
  return `${ip} ${port}`;
}
