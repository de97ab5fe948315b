import type { OnReadOpts, Socket } from "node:net";

/** Memory that a connection reads into, in bytes. */
const SLAB_LENGTH = 512 * 1024;
/** Less room than this at its end is left unused, in bytes. */
const ROOM_MIN = 128 * 1024;

/**
 * Has sockets take from the kernel all that has come, up to half a MiB a time, instead of 64 KiB: what a chunk costs on its way to
 * the disk hardly depends on its length. One object serves any number of sockets.
 *
 * Chunks are views, one after the other, of memory that is never used twice, so whoever holds one has it for good.
 */
export function readInLargeSteps(): OnReadOpts {
  // Node asks for the next buffer right after handing over the last one, before any other socket has its turn.
  let room: Uint8Array | undefined;
  return {
    buffer: () => {
      const next =
        room === undefined || room.byteLength < ROOM_MIN
          ? Buffer.allocUnsafeSlow(SLAB_LENGTH)
          : room;
      room = undefined;
      return next;
    },
    callback(this: Socket, length: number, buffer: Uint8Array): boolean {
      room = buffer.subarray(length);
      return this.push(buffer.subarray(0, length));
    },
  };
}
