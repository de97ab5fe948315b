import { TransportError } from "@damselfly/transport";
import { ReadRing } from "./read-ring.ts";

/**
 * With less room than this no more is read: what the system or TLS has begun to hand over must still find its place.
 * TLS decrypts up to 64 KiB at once.
 */
const ROOM_LENGTH_MIN = 128 * 1024;

/** No ring of a piece that does not fit is shorter. */
export const RING_LENGTH_MIN: number = 2 * ROOM_LENGTH_MIN;

/**
 * Content on its way from a connection to whoever reads it. The connection puts bytes into `room()` and says so with
 * `commit`; it stops reading while the inbox is full.
 */
export class ContentInbox {
  readonly #ring: ReadRing;
  readonly #onRoom: () => void;
  /** Of the content, in bytes. */
  readonly length: number;
  /** Bytes that have not come yet. */
  #missingLength: number;
  #failure: { readonly reason: unknown } | undefined;
  #wake: (() => void) | undefined;
  #isWakeDue = false;

  /**
   * @param options.length of the content, in bytes
   * @param options.buffer holds what has come and has not been read: as long as the content, or `RING_LENGTH_MIN`
   * @param options.onRoom called when there is room again after `isFull`
   */
  constructor(options: {
    readonly length: number;
    readonly buffer: Uint8Array;
    readonly onRoom: () => void;
  }) {
    this.#ring = new ReadRing(options.buffer);
    this.length = options.length;
    this.#missingLength = options.length;
    this.#onRoom = options.onRoom;
  }

  /** Bytes that have come. */
  get arrivedLength(): number {
    return this.length - this.#missingLength;
  }

  /** Whether all of the content has come. */
  get isComplete(): boolean {
    return this.#missingLength === 0;
  }

  /** Whether reading should stop until `onRoom` is called. */
  get isFull(): boolean {
    const { freeLength } = this.#ring;
    return freeLength < ROOM_LENGTH_MIN && freeLength < this.#missingLength;
  }

  /** Where the next bytes of the content go; empty: nowhere. Never takes more than the content has. */
  room(): Uint8Array {
    return this.#ring.room(this.#missingLength);
  }

  /** The first `length` bytes of the last room have come. */
  commit(length: number): void {
    this.#ring.commit(length);
    this.#missingLength -= length;
    this.#notify();
  }

  /** Takes what it can of bytes that came elsewhere. @returns how many */
  push(bytes: Uint8Array): number {
    let taken = 0;
    for (;;) {
      const room = this.room();
      const part = bytes.subarray(taken, taken + room.byteLength);
      if (part.byteLength === 0) return taken;
      room.set(part);
      this.commit(part.byteLength);
      taken += part.byteLength;
    }
  }

  /** Nothing more comes. What has come can still be read. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#notify();
  }

  /**
   * What comes, in order. A chunk is valid until the next one is asked for.
   *
   * @throws the reason given to `fail`, after what had come by then
   */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const wasFull = this.isFull;
      const chunk = this.#ring.take();
      if (wasFull && !this.isFull) this.#onRoom();
      if (chunk.byteLength > 0) {
        yield chunk;
      } else {
        if (this.isComplete) return;
        if (this.#failure !== undefined) throw this.#failure.reason;
        await this.#arrival();
      }
    }
  }

  async #arrival(): Promise<void> {
    if (this.#wake !== undefined) throw new TransportError("ERR_CLOSED", "Cannot read twice");
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** After everything that has arrived in this turn: a chunk is to be long, and TLS brings 16 KiB at a time. */
  #notify(): void {
    if (this.#wake === undefined || this.#isWakeDue) return;
    this.#isWakeDue = true;
    setImmediate(() => {
      this.#isWakeDue = false;
      const wake = this.#wake;
      this.#wake = undefined;
      wake?.();
    });
  }
}
