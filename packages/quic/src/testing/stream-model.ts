import { QuicError } from "../errors.ts";
import type { QuicStream } from "../quic.ts";
import { pattern } from "./stream-bytes.ts";

/** 0 and 1: the two endpoints. */
export type Side = 0 | 1;

/** What has been done to a connection and may show in the errors of its streams. */
export interface ConnectionFate {
  /** The codes with which each side has closed it. */
  readonly closeCodes: (number | undefined)[];
  /** Whether a side's endpoint has been closed as a whole. */
  readonly isGone: boolean[];
  /** Whether a side may hear of the other's close by its idle timeout only: the network loses datagrams. */
  readonly isLossy: boolean;
}

/** Thrown where the engine and the model do not agree. */
export class ModelError extends Error {
  override readonly name = "ModelError";
}

/**
 * One way of a stream: what its writer has done, what its reader has got, and whether the one can follow from the
 * other. Operations of each end run one after the other; cancels come whenever they like.
 */
export class WayModel {
  readonly name: string;
  readonly writer: StreamEnd;
  readonly reader: StreamEnd;
  readonly #fate: ConnectionFate;
  /** Where in the pattern its content begins: every way carries other bytes. */
  readonly #start: number;
  /** Bytes given to `write` and `end`, those still waiting included. */
  #written = 0;
  /** Bytes that calls have resolved for. */
  #taken = 0;
  #received = 0;
  #isEndWritten = false;
  #isEndTaken = false;
  #isEndRead = false;
  #resetCode: number | undefined;
  #stopCode: number | undefined;
  #readError: QuicError | undefined;
  #writeError: QuicError | undefined;

  constructor(init: { writer: StreamEnd; reader: StreamEnd; fate: ConnectionFate; start: number }) {
    this.writer = init.writer;
    this.reader = init.reader;
    this.#fate = init.fate;
    this.#start = init.start;
    this.name = `${init.writer.name} to ${init.reader.name}`;
    init.writer.out = this;
    init.reader.in = this;
  }

  /** Whether the peer is sure to hear of the stream through this way: one byte may wait for the end to join it. */
  get isAnnounced(): boolean {
    return this.#isEndTaken || this.#taken > (this.#resetCode === undefined ? 0 : 1);
  }

  get isWritingOver(): boolean {
    return this.#isEndWritten || this.#resetCode !== undefined || this.#writeError !== undefined;
  }

  /** Whether it can have ended well, as its writer or its reader sees it. */
  canHaveEnded(end: StreamEnd): boolean {
    return end === this.writer
      ? this.#isEndTaken
      : this.#isEndWritten && this.#received === this.#written;
  }

  toString(): string {
    const marks = [
      this.#isEndTaken ? "end taken" : this.#isEndWritten ? "end waiting" : "",
      this.#isEndRead ? "end read" : "",
      this.#resetCode === undefined ? "" : `reset ${this.#resetCode}`,
      this.#stopCode === undefined ? "" : `stopped ${this.#stopCode}`,
      this.#readError === undefined ? "" : `read: ${this.#readError.message}`,
      this.#writeError === undefined ? "" : `write: ${this.#writeError.message}`,
    ];
    const counts = `${this.#written} written, ${this.#taken} taken, ${this.#received} received`;
    return `${this.name}: ${[counts, ...marks.filter((mark) => mark !== "")].join(", ")}`;
  }

  async write(stream: QuicStream, length: number, isLast: boolean): Promise<void> {
    const wasOver = this.isWritingOver;
    const bytes = pattern(length, this.#start + this.#written);
    if (!wasOver) {
      this.#written += length;
      this.#isEndWritten = isLast;
    }
    try {
      await (isLast ? stream.end(bytes) : stream.write(bytes));
    } catch (error) {
      this.#checkWriteError(error, wasOver);
      return;
    }
    bytes.fill(0); // it is ours again
    if (wasOver) throw new ModelError(`${this.name}: a write after the end was taken`);
    this.#taken += length;
    if (isLast) this.#isEndTaken = true;
  }

  /** Reads once; false when nothing more will come. */
  async read(stream: QuicStream, length: number, leastLength: number): Promise<boolean> {
    const into = Buffer.alloc(length, 0xee);
    let count: number;
    try {
      count = await stream.read(into, Math.min(leastLength, length));
    } catch (error) {
      this.#checkReadError(error);
      return false;
    }
    if (count === 0) this.#checkEnd();
    else this.#checkBytes(into.subarray(0, count));
    return count > 0;
  }

  reset(stream: QuicStream, code: number): void {
    // Once the end is taken a reset changes nothing.
    if (!this.#isEndTaken && this.#writeError === undefined) this.#resetCode ??= code;
    stream.reset(code);
  }

  stopReading(stream: QuicStream, code: number): void {
    if (!this.#isEndRead && this.#readError === undefined) this.#stopCode ??= code;
    stream.stopReading(code);
  }

  /** What must hold once everything that was begun has settled and the connection is still open. */
  assertSettled(): void {
    const cancelled = this.#resetCode !== undefined || this.#stopCode !== undefined;
    if (this.#isEndRead && !this.#isEndTaken) this.#fail("the end was read, but not taken");
    if (cancelled) return;
    if (!this.#isEndRead || this.#received !== this.#written) this.#fail("not everything arrived");
  }

  #checkBytes(bytes: Buffer): void {
    if (this.#isEndRead || this.#readError !== undefined) this.#fail("bytes came after the end");
    if (this.#received + bytes.byteLength > this.#written) this.#fail("more came than was written");
    const expected = pattern(bytes.byteLength, this.#start + this.#received);
    if (!bytes.equals(expected)) this.#fail(`wrong bytes after ${this.#received}`);
    this.#received += bytes.byteLength;
  }

  #checkEnd(): void {
    if (this.#readError !== undefined) this.#fail("the end came after an error");
    if (!this.#isEndWritten) this.#fail("an end was read that was not written");
    if (this.#received !== this.#written) this.#fail("the end came early");
    this.#isEndRead = true;
  }

  #checkReadError(error: unknown): void {
    const known = this.#checkRepeat(error, this.#readError);
    if (this.#isEndRead) this.#fail("an error came after the end");
    this.#readError = known;
    const { code, applicationCode } = known;
    const isReset = code === "ERR_STREAM_RESET" && applicationCode === this.#resetCode;
    const isStopped = code === "ERR_CLOSED" && this.#stopCode !== undefined;
    // Reset before its first byte, a stream stays unknown to the peer: nothing can come back on it.
    const isUnknown =
      code === "ERR_CLOSED" && this.reader.isOpener && this.reader.out?.isResetUnannounced === true;
    if (!isReset && !isStopped && !isUnknown) this.#checkLoss(known, this.reader.side);
  }

  /** Whether its writer has reset it before a byte of it was taken. */
  get isResetUnannounced(): boolean {
    return this.#resetCode !== undefined && !this.isAnnounced;
  }

  #checkWriteError(error: unknown, wasOver: boolean): void {
    const known = this.#checkRepeat(error, this.#writeError);
    if (this.#isEndTaken) return; // that it is ERR_CLOSED was checked when it repeated
    this.#writeError = known;
    const { code, applicationCode } = known;
    const isStopped =
      code === "ERR_STREAM_STOPPED" &&
      this.#stopCode !== undefined &&
      [undefined, this.#stopCode].includes(applicationCode);
    const isReset = code === "ERR_CLOSED" && (this.#resetCode !== undefined || wasOver);
    if (!isStopped && !isReset) this.#checkLoss(known, this.writer.side);
  }

  #checkRepeat(error: unknown, before: QuicError | undefined): QuicError {
    if (!(error instanceof QuicError)) throw error;
    if (before !== undefined && before !== error) this.#fail(`another error: ${error.message}`);
    return error;
  }

  /** Checks that the end of the connection is the reason for `error`, as seen from `side`. */
  #checkLoss(error: QuicError, side: Side): void {
    const reason = lossAt(this.#fate, error, side);
    if (reason !== undefined) this.#fail(reason);
  }

  #fail(reason: string): never {
    throw new ModelError(`${reason} (${this.toString()})`);
  }
}

/** What is wrong with `error` as the end of a connection seen from `side`; undefined if nothing is. */
export function lossAt(fate: ConnectionFate, error: QuicError, side: Side): string | undefined {
  const { code, applicationCode } = error;
  const [here, peer]: readonly [Side, Side] = side === 0 ? [0, 1] : [1, 0];
  const closer = code === "ERR_CLOSED" ? here : peer;
  if (code !== "ERR_CLOSED" && code !== "ERR_CONNECTION_LOST") return `unexpected ${code}`;
  if (fate.isGone[closer] === true) return undefined;
  const closeCode = fate.closeCodes[closer];
  if (closeCode === undefined) return `${error.message}, but nobody closed it`;
  if (fate.isLossy && closer === peer && applicationCode === undefined) return undefined;
  return closeCode === applicationCode ? undefined : `closed with ${closeCode}: ${error.message}`;
}

/** One end of a stream: its operations wait for each other, and all of them for the stream to be there. */
export class StreamEnd {
  readonly side: Side;
  readonly isOpener: boolean;
  readonly name: string;
  out: WayModel | undefined;
  in: WayModel | undefined;
  /** Resolves with undefined once it is known that it will not come. */
  readonly stream: Promise<QuicStream | undefined>;
  #arrive!: (stream: QuicStream | undefined) => void;
  #hasArrived = false;
  #isGivenUp = false;
  #writing: Promise<void>;
  #reading: Promise<void>;
  #closing: Promise<void> = Promise.resolve();
  #begun = 0;
  readonly #waits = new Set<string>();
  readonly #onFailure: (error: unknown) => void;

  constructor(init: {
    side: Side;
    isOpener: boolean;
    name: string;
    onFailure: (error: unknown) => void;
  }) {
    this.side = init.side;
    this.isOpener = init.isOpener;
    this.name = init.name;
    this.#onFailure = init.onFailure;
    this.stream = new Promise((resolve) => {
      this.#arrive = resolve;
    });
    this.#writing = Promise.resolve();
    this.#reading = Promise.resolve();
  }

  get hasArrived(): boolean {
    return this.#hasArrived;
  }

  /** False when it was given up already: then it is cancelled. */
  arrive(stream: QuicStream): boolean {
    if (this.#hasArrived) throw new ModelError(`${this.name} came twice`);
    if (this.#isGivenUp) {
      stream.stopReading(0);
      stream.reset(0);
      return false;
    }
    this.#hasArrived = true;
    this.#arrive(stream);
    return true;
  }

  /** The stream will not come any more. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#arrive(undefined);
  }

  /** Runs `work` with the outcome of the stream. */
  close(work: (error: Error | undefined) => void): void {
    this.#closing = this.#then("closed", Promise.resolve(), this.out, async (stream) =>
      work(await stream.closed),
    );
  }

  /** Runs `work` once all that was asked for before is done. */
  write(work: (stream: QuicStream, way: WayModel) => Promise<unknown>): void {
    this.#writing = this.#then("write", this.#writing, this.out, work);
  }

  read(work: (stream: QuicStream, way: WayModel) => Promise<unknown>): void {
    this.#reading = this.#then("read", this.#reading, this.in, work);
  }

  /** Runs `work` at once, or as soon as the stream is there. */
  now(work: (stream: QuicStream) => void): void {
    void this.#then("cancel", Promise.resolve(), this.out, (stream) =>
      Promise.resolve(work(stream)),
    );
  }

  async settled(): Promise<void> {
    await Promise.all([this.#writing, this.#reading, this.#closing]);
  }

  /** What has not settled, in words. */
  get waiting(): string {
    const waits = [...this.#waits].join(", ");
    return waits === "" ? "" : `${this.name} waits: ${waits}`;
  }

  async #then(
    what: string,
    before: Promise<void>,
    way: WayModel | undefined,
    work: (stream: QuicStream, way: WayModel) => Promise<unknown>,
  ): Promise<void> {
    this.#begun++;
    const wait = `${what} ${this.#begun}`;
    this.#waits.add(wait);
    try {
      await before;
      const stream = await this.stream;
      if (stream !== undefined && way !== undefined) await work(stream, way);
    } catch (error) {
      this.#onFailure(error);
    }
    this.#waits.delete(wait);
  }
}
