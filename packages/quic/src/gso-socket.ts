import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import { type DgramSocket, openDgramSocket } from "./dgram-socket.ts";
import { PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import { findSocketFd } from "./find-socket-fd.ts";
import { type Libc, loadLibc } from "./load-libc.ts";
import { MessageDrain } from "./message-drain.ts";
import type { QuicAddress } from "./quic.ts";
import { SegmentedMessage } from "./segmented-message.ts";
import { toSocketAddress } from "./socket-address.ts";
import { CoalescedSplitter } from "./split-coalesced.ts";
import {
  SEND_BUFFER_LENGTH,
  type UdpCounters,
  type UdpSocket,
  type UdpSocketOptions,
} from "./udp-socket.ts";

const SOL_UDP = 17;
const UDP_GRO = 104;

/**
 * A `node:dgram` socket on Linux that leaves cutting and joining to the kernel: what is sent goes down in one
 * `sendmsg` (UDP_SEGMENT, since Linux 4.18), what came in close together comes up in one message (UDP_GRO, since 5.0).
 *
 * @throws the system's error when the address cannot be bound
 * @throws {Error} where the kernel or koffi has no such thing
 */
export async function openGsoSocket(options: UdpSocketOptions): Promise<UdpSocket> {
  const libc = await loadLibc();
  const splitter = new CoalescedSplitter(options.isOwnId ?? (() => false));
  const onMessage: UdpSocketOptions["onMessage"] = (message, ip, port) =>
    splitter.split(message, port, (datagram) => options.onMessage(datagram, ip, port));
  let gso: GsoSocket | undefined;
  const plain = await openDgramSocket({
    ...options,
    onMessage(message, ip, port) {
      onMessage(message, ip, port);
      gso?.drain();
    },
  });
  try {
    const fd = findSocketFd(libc, plain.address);
    const on = Uint8Array.of(1, 0, 0, 0);
    if (libc.setsockopt(fd, SOL_UDP, UDP_GRO, on, on.byteLength) !== 0) {
      throw new Error(`Cannot use UDP offloads: no UDP_GRO here (${nameOf(libc.errno())})`);
    }
    gso = new GsoSocket(plain, { libc, fd, options, drain: new MessageDrain(libc, fd, onMessage) });
    return gso;
  } catch (error) {
    await plain.close();
    throw error;
  }
}

/** The most that every kernel with UDP_SEGMENT takes in one call. */
const SEGMENT_COUNT_MAX = 64;
/** Peers remembered, about; then it starts anew. */
const DESTINATION_COUNT_MAX = 4096;

/** After these the kernel will not cut for this socket at all, as over a device that cannot sum what it sends. */
const UNABLE: ReadonlySet<number> = new Set([
  constants.errno.EIO,
  constants.errno.EINVAL,
  constants.errno.EOPNOTSUPP,
  constants.errno.ENOPROTOOPT,
]);

interface Destination {
  readonly ip: string;
  readonly port: number;
  /** Undefined for what only Node can spell. */
  readonly name: Uint8Array | undefined;
  /** From this length on, the kernel does not cut datagrams to there: they are longer than the path takes. */
  segmentLengthLimit: number;
}

/** Exported for tests, which put a C library of their own under it. */
export class GsoSocket implements UdpSocket {
  /** Everything that cannot go down in one piece goes this way, one datagram at a time; nothing is lost over it. */
  readonly #plain: DgramSocket;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #options: UdpSocketOptions;
  readonly #message: SegmentedMessage;
  readonly #memory = new WeakMap<Uint8Array, bigint>();
  readonly #destinations = new Map<string, Destination>();
  /** Packets come in runs to one peer. */
  #last: Destination | undefined;
  #callCount = 0;
  /** For good. */
  #isPlain = false;
  /** Until the kernel has taken what Node has queued: nothing is to overtake it. */
  #isBlocked = false;
  #isClosed = false;
  readonly #drain: MessageDrain;
  /** Once between two looks of the event loop at its sockets is enough, and fair. */
  #isDrained = false;

  constructor(
    plain: DgramSocket,
    {
      libc,
      fd,
      options,
      drain,
    }: {
      readonly libc: Libc;
      readonly fd: number;
      readonly options: UdpSocketOptions;
      readonly drain: MessageDrain;
    },
  ) {
    this.#plain = plain;
    this.#libc = libc;
    this.#fd = fd;
    this.#options = options;
    this.#message = new SegmentedMessage(libc);
    this.#drain = drain;
  }

  get address(): QuicAddress {
    return this.#plain.address;
  }

  get isFragmentFree(): boolean {
    return this.#plain.isFragmentFree;
  }

  get counters(): UdpCounters {
    const { counters } = this.#plain;
    return {
      ...counters,
      sendCallCount: counters.sendCallCount + this.#callCount,
      receiveCallCount: counters.receiveCallCount + this.#drain.callCount,
    };
  }

  /** Node has brought a message: more may wait behind it. */
  drain(): void {
    if (this.#isDrained) return;
    this.#isDrained = true;
    setImmediate(() => {
      this.#isDrained = false;
    });
    this.#drain.drain(() => !this.#isClosed);
  }

  takeBuffer(): Uint8Array {
    return this.#plain.takeBuffer();
  }

  returnBuffer(buffer: Uint8Array): void {
    this.#plain.returnBuffer(buffer);
  }

  send(buffer: Uint8Array, length: number, segmentLength: number, ip: string, port: number): void {
    // The descriptor may be another's by then.
    if (this.#isClosed) return;
    const sentLength = this.#sendCut(buffer, length, segmentLength, ip, port);
    if (sentLength === length) {
      this.#plain.returnBuffer(buffer);
      return;
    }
    if (sentLength > 0) buffer.copyWithin(0, sentLength, length);
    this.#plain.send(buffer, length - sentLength, segmentLength, ip, port);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#plain.close();
  }

  /** @returns how many bytes are sent; the rest has to go another way */
  #sendCut(
    buffer: Uint8Array,
    length: number,
    segmentLength: number,
    ip: string,
    port: number,
  ): number {
    if (this.#isBlocked) this.#isBlocked = this.#plain.isSending;
    if (this.#isPlain || this.#isBlocked) return 0;
    const destination = this.#destinationOf(ip, port);
    const { name } = destination;
    if (name === undefined || segmentLength >= destination.segmentLengthLimit) return 0;
    const count = Math.min(SEGMENT_COUNT_MAX, Math.floor(SEND_BUFFER_LENGTH / segmentLength));
    const lengthMax = Math.max(1, count) * segmentLength;
    const start = this.#addressOf(buffer);
    let offset = 0;
    while (offset < length) {
      const part = Math.min(lengthMax, length - offset);
      const address = start + BigInt(offset);
      this.#callCount++;
      const errno = this.#message.send(this.#fd, name, address, part, segmentLength);
      if (errno !== 0) {
        this.#onFailure(errno, destination, segmentLength);
        return offset;
      }
      offset += part;
    }
    return length;
  }

  /** What is not named here is for the plain way to meet again, and to report. */
  #onFailure(errno: number, destination: Destination, segmentLength: number): void {
    if (errno === constants.errno.EAGAIN) this.#isBlocked = true;
    else if (isTooLong(errno, segmentLength)) destination.segmentLengthLimit = segmentLength;
    else if (UNABLE.has(errno)) {
      this.#isPlain = true;
      this.#options.onPlain?.(new Error(`Cannot send with UDP_SEGMENT: ${nameOf(errno)}`));
    }
  }

  #destinationOf(ip: string, port: number): Destination {
    if (this.#last?.port === port && this.#last.ip === ip) return this.#last;
    const key = `${ip} ${port}`;
    let destination = this.#destinations.get(key);
    if (destination === undefined) {
      if (this.#destinations.size >= DESTINATION_COUNT_MAX) this.#destinations.clear();
      const name = toSocketAddress(this.#libc, ip, port);
      destination = { ip, port, name, segmentLengthLimit: Number.POSITIVE_INFINITY };
      this.#destinations.set(key, destination);
    }
    this.#last = destination;
    return destination;
  }

  #addressOf(buffer: Uint8Array): bigint {
    let address = this.#memory.get(buffer);
    if (address === undefined) {
      address = this.#libc.address(buffer);
      this.#memory.set(buffer, address);
    }
    return address;
  }
}

/** Kernels before 6.14 answer EINVAL where the device's MTU is less than a segment; none is less than QUIC's minimum. */
function isTooLong(errno: number, segmentLength: number): boolean {
  const isInvalid = errno === constants.errno.EINVAL;
  return errno === constants.errno.EMSGSIZE || (isInvalid && segmentLength > PACKET_LENGTH_MIN);
}

function nameOf(errno: number): string {
  return getSystemErrorName(-errno);
}
