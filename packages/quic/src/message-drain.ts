import { networkInterfaces } from "node:os";
import type { Libc } from "./load-libc.ts";

const MSG_DONTWAIT = 0x40;
const AF_INET = 2;
const NAME_LENGTH_V4 = 16;
const NAME_LENGTH_V6 = 28;

/** Messages a system call, each with room for as much as the kernel puts together. */
const MESSAGE_COUNT = 16;
const MESSAGE_LENGTH = 65_536;
/** Bytes and calls a drain: what comes after them waits for the event loop, and behind everybody else. */
const LENGTH_PER_DRAIN = 1024 * 1024;
const CALLS_PER_DRAIN = 8;

// Where things are in the block that `recvmmsg` is told, 64-bit Linux, little endian: headers, then buffers' places, then
// senders. struct mmsghdr: name, its length, iovecs, their count, control, its length, flags; length of what came.
const HEADER_LENGTH = 64;
const IOVEC_LENGTH = 16;
const NAME_ROOM = 32;
const IOVECS_AT = MESSAGE_COUNT * HEADER_LENGTH;
const NAMES_AT = IOVECS_AT + MESSAGE_COUNT * IOVEC_LENGTH;
const BLOCK_LENGTH = NAMES_AT + MESSAGE_COUNT * NAME_ROOM;

/**
 * Takes what waits in a UDP socket, many messages a call, into memory that is used again. Node takes them one a call and
 * gives each 64 KiB of its own, which costs more than all else about a short one. It still says when there is
 * something: its first message is the signal to look for others here.
 */
export class MessageDrain {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #onMessage: (message: Buffer, ip: string, port: number) => void;
  readonly #block = Buffer.from(new ArrayBuffer(BLOCK_LENGTH));
  readonly #buffers: Buffer[] = [];
  #callCount = 0;
  /** Messages come in runs from one peer. */
  #lastName = "";
  #lastIp = "";
  #lastPort = 0;

  /** @param onMessage is given memory that is used again as soon as it returns */
  constructor(
    libc: Libc,
    fd: number,
    onMessage: (message: Buffer, ip: string, port: number) => void,
  ) {
    this.#libc = libc;
    this.#fd = fd;
    this.#onMessage = onMessage;
    const base = libc.address(this.#block);
    for (let index = 0; index < MESSAGE_COUNT; index++) {
      const buffer = Buffer.from(new ArrayBuffer(MESSAGE_LENGTH));
      this.#buffers.push(buffer);
      const header = index * HEADER_LENGTH;
      const iovec = IOVECS_AT + index * IOVEC_LENGTH;
      this.#block.writeBigUInt64LE(base + BigInt(NAMES_AT + index * NAME_ROOM), header);
      this.#block.writeBigUInt64LE(base + BigInt(iovec), header + 16);
      this.#block.writeBigUInt64LE(1n, header + 24);
      this.#block.writeBigUInt64LE(libc.address(buffer), iovec);
      this.#block.writeBigUInt64LE(BigInt(MESSAGE_LENGTH), iovec + 8);
    }
  }

  /** System calls so far that brought something. */
  get callCount(): number {
    return this.#callCount;
  }

  /**
   * Hands over what waits, up to a bound, as long as `isOpen` holds: what is done about a message may close the
   * socket, and its descriptor be another's then. An error stays for Node to meet, and to report.
   */
  drain(isOpen: () => boolean): void {
    let budget = LENGTH_PER_DRAIN;
    for (let call = 0; call < CALLS_PER_DRAIN && budget > 0 && isOpen(); call++) {
      for (let index = 0; index < MESSAGE_COUNT; index++)
        this.#block.writeUInt32LE(NAME_LENGTH_V6, index * HEADER_LENGTH + 8);
      const count = this.#libc.recvmmsg(this.#fd, this.#block, MESSAGE_COUNT, MSG_DONTWAIT);
      if (count > 0) this.#callCount++;
      for (let index = 0; index < count && isOpen(); index++) budget -= this.#handOver(index);
      if (count < MESSAGE_COUNT) return;
    }
  }

  #handOver(index: number): number {
    const header = index * HEADER_LENGTH;
    const length = this.#block.readUInt32LE(header + 56);
    const nameLength = this.#block.readUInt32LE(header + 8);
    const buffer = this.#buffers[index];
    if (buffer === undefined || length === 0) return 0;
    this.#readName(NAMES_AT + index * NAME_ROOM, nameLength);
    this.#onMessage(buffer.subarray(0, length), this.#lastIp, this.#lastPort);
    return length;
  }

  #readName(at: number, length: number): void {
    const name = this.#block.toString("latin1", at, at + length);
    if (name === this.#lastName) return;
    this.#lastName = name;
    this.#lastPort = this.#block.readUInt16BE(at + 2);
    const isV4 = this.#block.readUInt16LE(at) === AF_INET && length === NAME_LENGTH_V4;
    const literal = this.#block.subarray(at + (isV4 ? 4 : 8));
    this.#lastIp = isV4 ? literal.subarray(0, 4).join(".") : this.#libc.inetNtop(literal);
    const zone = isV4 ? 0 : this.#block.readUInt32LE(at + 24);
    if (zone !== 0) this.#lastIp += `%${zoneName(zone)}`;
  }
}

/** Names of interfaces by their index, as the system said last. */
let zoneNames: ReadonlyMap<number, string> = new Map();

/** As Node spells it: the interface's name. */
function zoneName(index: number): string {
  try {
    zoneNames = readZoneNames();
  } catch {
    // As to a process that is out of descriptors: the names that are known are still good.
  }
  return zoneNames.get(index) ?? String(index);
}

function readZoneNames(): Map<number, string> {
  const names = new Map<number, string>();
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (address.family === "IPv6" && address.scopeid !== 0) names.set(address.scopeid, name);
    }
  }
  return names;
}
