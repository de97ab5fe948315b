import type { Libc } from "./load-libc.ts";

const MSG_DONTWAIT = 0x40;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;

// One block of memory that holds everything `sendmsg` is told, by offset (64-bit Linux, little endian).
const IOVEC_AT = 64;
const CONTROL_AT = 80;
const CONTROL_LENGTH = 24;
const NAME_AT = 128;
const BLOCK_LENGTH = 160;

/** The argument of `sendmsg`: one address, one buffer, and the length of the datagrams to cut the buffer into. */
export class SegmentedMessage {
  readonly #libc: Libc;
  readonly #block = new Uint8Array(new ArrayBuffer(BLOCK_LENGTH));
  readonly #view = new DataView(this.#block.buffer);
  #name: Uint8Array | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
    const base = libc.address(this.#block);
    const view = this.#view;
    // struct msghdr: name, its length, iovecs, their count, control, its length, flags.
    view.setBigUint64(0, base + BigInt(NAME_AT), true);
    view.setBigUint64(16, base + BigInt(IOVEC_AT), true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, base + BigInt(CONTROL_AT), true);
    // struct cmsghdr: length of header and value, level, type, value.
    view.setBigUint64(CONTROL_AT, 18n, true);
    view.setInt32(CONTROL_AT + 8, SOL_UDP, true);
    view.setInt32(CONTROL_AT + 12, UDP_SEGMENT, true);
  }

  /**
   * Sends `length` bytes from `address` as datagrams of `segmentLength`, the last one possibly shorter.
   *
   * @returns 0, or the `errno` of why nothing was sent
   */
  send(
    fd: number,
    name: Uint8Array,
    address: bigint,
    length: number,
    segmentLength: number,
  ): number {
    const view = this.#view;
    if (name !== this.#name) {
      this.#name = name;
      this.#block.set(name, NAME_AT);
      view.setUint32(8, name.byteLength, true);
    }
    view.setBigUint64(IOVEC_AT, address, true);
    view.setUint32(IOVEC_AT + 8, length, true);
    view.setUint32(40, length > segmentLength ? CONTROL_LENGTH : 0, true);
    view.setUint16(CONTROL_AT + 16, segmentLength, true);
    return this.#libc.sendmsg(fd, this.#block, MSG_DONTWAIT) < 0 ? this.#libc.errno() : 0;
  }
}
