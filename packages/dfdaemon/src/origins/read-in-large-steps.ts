import type { OnReadOpts, Socket } from "node:net";

/** Memory that a connection reads into, in bytes. */
const SLAB_LENGTH = 512 * 1024;
/** Less room than this at its end is left unused, in bytes. */
const ROOM_MIN = 128 * 1024;
/** Kept for later: 8 MiB. As many as are asked for can be in use. */
const IDLE_COUNT_MAX = 16;

/**
 * Has sockets take from the kernel all that has come, up to half a MiB a time, instead of 64 KiB: what a chunk costs on its way to
 * the disk hardly depends on its length. One object serves any number of sockets.
 *
 * Chunks are views, one after the other, of memory that is used again once `releaseChunk` has been told of every byte of it; what
 * nobody tells of is left to the collector.
 */
export function readInLargeSteps(): OnReadOpts {
  const idle: Slab[] = [];
  // Node asks for the next buffer right after handing over the last one, before any other socket has its turn.
  let room: Uint8Array | undefined;
  return {
    buffer: () => {
      const next = room ?? (idle.pop() ?? createSlab(idle)).memory;
      room = undefined;
      return next;
    },
    callback(this: Socket, length: number, buffer: Uint8Array): boolean {
      const slab = slabs.get(buffer.buffer);
      const rest = buffer.subarray(length);
      if (rest.byteLength >= ROOM_MIN) room = rest;
      if (slab !== undefined) {
        slab.receivedLength += length;
        slab.isFull = room === undefined;
      }
      return this.push(buffer.subarray(0, length));
    },
  };
}

/** Nobody has use for the bytes of `chunk` any more, and says so once: they may be overwritten from now on. */
export function releaseChunk({ buffer, byteLength }: Uint8Array): void {
  const slab = slabs.get(buffer);
  if (slab === undefined) return;
  slab.releasedLength += byteLength;
  // The headers of answers are in no chunk: a slab that has one in it does not come back.
  if (!slab.isFull || slab.releasedLength !== slab.receivedLength) return;
  slab.receivedLength = 0;
  slab.releasedLength = 0;
  slab.isFull = false;
  if (slab.idle.length < IDLE_COUNT_MAX) slab.idle.push(slab);
}

interface Slab {
  readonly memory: Uint8Array;
  /** Where it goes when it is free. */
  readonly idle: Slab[];
  receivedLength: number;
  releasedLength: number;
  /** Its socket reads into another one. */
  isFull: boolean;
}

const slabs = new WeakMap<ArrayBufferLike, Slab>();

function createSlab(idle: Slab[]): Slab {
  const memory = Buffer.allocUnsafeSlow(SLAB_LENGTH);
  const slab = { memory, idle, receivedLength: 0, releasedLength: 0, isFull: false };
  slabs.set(memory.buffer, slab);
  return slab;
}
