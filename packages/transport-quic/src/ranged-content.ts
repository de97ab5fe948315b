import { setTimeout } from "node:timers/promises";
import type { ByteBudget, Reservation } from "@damselfly/limits";
import { type ByteRange, type PieceInfo, TransportError } from "@damselfly/transport";
import { type Answer, isConnectionLost } from "./piece-asker.ts";
import { readChunks } from "./piece-chunks.ts";
import { type ReadBuffers, READ_LENGTH } from "./read-buffers.ts";
import { toTransportError } from "./to-transport-error.ts";

/** Most bytes asked for on one stream: what the stream's window holds, so that a parent never waits for credit. */
export const RANGE_LENGTH: number = 8 * 1024 * 1024;

/** With so little of a range left to read the next one is asked for, to be there in time. */
const LOOK_AHEAD_LENGTH = 2 * 1024 * 1024;

/** How often in a row the rest of a range is asked for again without a byte having come in between. */
const RESUME_COUNT_MAX = 3;

/** Before asking again a parent that was busy, times the attempt. */
const BUSY_PAUSE_MS = 100;

export interface RangedContentInit {
  /** Of the piece, as the first answer has it. */
  readonly piece: PieceInfo;
  /** The bytes to be delivered, within the piece. */
  readonly range: ByteRange;
  /** The answer to a request for the first `firstLength` of them, and the budget they took. */
  readonly first: Answer;
  readonly firstLength: number;
  readonly reservation: Reservation;
  /** Asks the same parent for other bytes. @throws what `PieceAsker.ask` throws */
  readonly ask: (range: ByteRange, signal: AbortSignal) => Promise<Answer>;
  /** How many ranges are worth asking for at once. */
  readonly width: () => number;
  readonly budget: ByteBudget;
  readonly buffers: ReadBuffers;
  /** First half of every message. */
  readonly what: string;
}

interface Part {
  readonly length: number;
  readonly end: number;
  /** Where the next byte to be read is. */
  position: number;
  answering: Promise<Answer>;
  readonly reservation: Reservation;
}

/**
 * The content of a piece, put together from ranges of which each has a stream of its own. The first of them is read;
 * others are on their way as far as the budget allows. When a connection breaks, the rest of its range is asked for on
 * another one.
 */
export class RangedContent {
  readonly #init: RangedContentInit;
  readonly #end: number;
  readonly #stop = new AbortController();
  /** Asked for and not yet read to their ends, in order. */
  readonly #parts: Part[] = [];
  /** Up to here everything has been asked for. */
  #askedEnd: number;
  #current: Answer | undefined;

  constructor(init: RangedContentInit) {
    const { range, first, firstLength, reservation } = init;
    this.#init = init;
    this.#end = range.offset + range.length;
    this.#askedEnd = range.offset + Math.min(range.length, firstLength);
    reservation.resize(this.#askedEnd - range.offset);
    this.#parts.push({
      length: this.#askedEnd - range.offset,
      position: range.offset,
      end: this.#askedEnd,
      answering: Promise.resolve(first),
      reservation,
    });
  }

  /**
   * Every byte, in order. A chunk is valid until the next one is asked for.
   *
   * @throws {TransportError}
   */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const { buffers, range } = this.#init;
    const isSmall = range.length < READ_LENGTH / 4;
    // Longer than the content and than what comes with an announcement: a byte too many shows.
    const buffer = isSmall ? new Uint8Array(range.length + 1024) : buffers.take();
    for (;;) {
      const [part] = this.#parts;
      if (part === undefined) break;
      yield* this.#read(part, buffer);
      this.#finish(part);
    }
    // Only a consumer that came back for more has let go of the last chunk: a piece that is given up half-way may
    // still be in a write to the disk.
    if (!isSmall) buffers.giveBack(buffer);
  }

  /** Gives up what has not been read. Idempotent. */
  close(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new TransportError("ERR_CLOSED", `${this.#init.what}: it was given up`));
    this.#current?.free(false);
    for (const part of this.#parts) {
      part.reservation.release();
      part.answering.then(
        (answer) => answer.free(false),
        () => undefined, // nobody waits for it any more
      );
    }
    this.#parts.length = 0;
  }

  async *#read(part: Part, buffer: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
    let failureCount = 0;
    for (;;) {
      try {
        const answer = await part.answering;
        this.#current = answer;
        this.#assertSamePiece(answer.piece);
        this.#askAhead();
        for await (const chunk of readChunks(answer.stream, answer.rest, buffer)) {
          part.position += chunk.byteLength;
          this.#assertWithin(part);
          failureCount = 0;
          yield chunk;
          this.#askAhead();
        }
        this.#free(true);
        if (part.position === part.end) return;
        throw this.#truncated(part.position);
      } catch (error) {
        const isRefused = this.#current === undefined;
        this.#free(false);
        failureCount++;
        await this.#prepareToResume(error, { failureCount, isRefused });
        // The last byte leaves only when all is well: nothing is missing but the end of the stream.
        if (part.position === part.end) return;
        const { position, end } = part;
        part.answering = this.#ask({ offset: position, length: end - position });
      }
    }
  }

  #free(isDone: boolean): void {
    this.#current?.free(isDone);
    this.#current = undefined;
  }

  /** @throws {TransportError} if there is no sense in asking again */
  async #prepareToResume(
    error: unknown,
    { failureCount, isRefused }: { readonly failureCount: number; readonly isRefused: boolean },
  ): Promise<void> {
    const { what } = this.#init;
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const failure = toTransportError(error, what, "ERR_PIECE_TRUNCATED");
    const code = failure instanceof TransportError ? failure.code : undefined;
    if (failureCount <= RESUME_COUNT_MAX) {
      if (isConnectionLost(error)) return;
      // What keeps the parent busy may be the other ranges of this very piece.
      if (code === "ERR_PARENT_BUSY" && isRefused) {
        await setTimeout(BUSY_PAUSE_MS * failureCount, undefined, { signal });
        return;
      }
    }
    if (code !== "ERR_PARENT_UNREACHABLE") throw failure;
    const message = `${what}: the connection broke, and there is no other`;
    throw new TransportError("ERR_PIECE_TRUNCATED", message, { cause: error });
  }

  #ask(range: ByteRange): Promise<Answer> {
    const answering = this.#init.ask(range, this.#stop.signal);
    answering.catch(() => undefined); // it is looked at when it is its turn
    return answering;
  }

  #askAhead(): void {
    const [current] = this.#parts;
    if (current === undefined) return;
    const left = current.end - current.position;
    const isNearlyRead = left <= Math.min(LOOK_AHEAD_LENGTH, current.length / 2);
    const countMax = this.#init.width() + (isNearlyRead ? 1 : 0);
    while (this.#askedEnd < this.#end && this.#parts.length < countMax) {
      const reservation = this.#init.budget.tryReserve(this.#nextLength);
      if (reservation === undefined) return;
      this.#askNext(reservation);
    }
  }

  /** The part has been read; what it took of the budget goes to the next one, which thus need not wait. */
  #finish(part: Part): void {
    this.#parts.shift();
    if (this.#parts.length > 0 || this.#askedEnd === this.#end) {
      part.reservation.release();
      return;
    }
    part.reservation.resize(this.#nextLength);
    this.#askNext(part.reservation);
  }

  get #nextLength(): number {
    return Math.min(RANGE_LENGTH, this.#end - this.#askedEnd);
  }

  #askNext(reservation: Reservation): void {
    const range = { offset: this.#askedEnd, length: this.#nextLength };
    this.#askedEnd += range.length;
    const { offset: position, length } = range;
    const answering = this.#ask(range);
    this.#parts.push({ length, position, end: this.#askedEnd, answering, reservation });
  }

  #assertWithin(part: Part): void {
    if (part.position <= part.end) return;
    const { what, piece } = this.#init;
    throw new TransportError(
      "ERR_PROTOCOL",
      `${what}: more arrived than the announced ${piece.length} bytes, or than were asked for`,
    );
  }

  #truncated(position: number): TransportError {
    const { what, range } = this.#init;
    const received = position - range.offset;
    return new TransportError(
      "ERR_PIECE_TRUNCATED",
      `${what}: it ended after ${received} of ${range.length} bytes`,
    );
  }

  #assertSamePiece({ offset, length, digest, strongDigest }: PieceInfo): void {
    const { piece, what } = this.#init;
    const isPlace = offset === piece.offset && length === piece.length;
    if (isPlace && digest === piece.digest && strongDigest === piece.strongDigest) return;
    throw new TransportError("ERR_PARENT_FAILED", `${what}: the parent has another one now`);
  }
}
