import { assertBytes, assertInteger, QuicError, type QuicStream } from "@damselfly/quic";
import type { NativeStream } from "./binding.ts";

/** How long a stop waits for the code that the peer gave it; without, it is told without. */
const STOP_CODE_WAIT_MS = 200;

/** What a stream needs from the connection it runs on. */
export interface StreamCarrier {
  /** Asks the peer for a stream; waits until it grants one. */
  open(stream: QuinnStream): Promise<NativeStream>;
  /** Why the connection carries nothing more, worded for `what`; undefined while it does. */
  failure(what: string): QuicError | undefined;
  /** Whether bytes that had arrived before the failure may still be read. */
  readonly isReadableAfterFailure: boolean;
  /** Tells the peer's side of the stream; `index` is the native one. */
  tell(stream: QuinnStream, kind: "reset" | "stop" | "received", code: number): void;
  /** So many bytes of content have moved. */
  moved(length: number): void;
  onOpened(stream: QuinnStream): void;
  onAbandoned(): void;
  /** Our side has been written to its end: the peer will say when it has everything. */
  onWritten(stream: QuinnStream): void;
  /** Both ways are over. */
  onDone(stream: QuinnStream): void;
}

/** What a stream is before it is opened natively. */
export const NOT_OPENED = -1;

const NOTHING = new Uint8Array(0);
/** RFC 9000 allows 62 bits, a number holds 53. */
const CODE_MAX = Number.MAX_SAFE_INTEGER;

/** Asked of the native layer at a time, which allocates as much: few large reads are what makes it fast. */
const READ_LENGTH = 1024 * 1024;
/** For readers with little room, who want a request and no content. */
const SMALL_READ_LENGTH = 16 * 1024;
/** How long a read that hopes for more waits for it. */
const GATHER_MS = 5;
/** How long a native reset waits for the message that says its code, which travels apart. */
const CODE_WAIT_MS = 500;

interface PendingRead {
  readonly into: Uint8Array;
  readonly leastLength: number;
  filled: number;
  readonly resolve: (length: number) => void;
  readonly reject: (error: Error) => void;
}

/** How one way of the stream stands: open, ended well, or the error that ended it. */
type Way = "open" | "ended" | Error;

/**
 * One bidirectional stream: two state machines, one a way, that share an end. At most one native call a way runs; its
 * result may come when nobody waits for it any more: bytes are then kept for the next read.
 */
export class QuinnStream implements QuicStream {
  readonly id: number;
  /** Which one it is natively, among those of the side that opened it; `NOT_OPENED` before. */
  index: number;
  readonly isOurs: boolean;
  readonly #carrier: StreamCarrier;
  #native: NativeStream | undefined;
  #opening: Promise<NativeStream> | undefined;
  #reading: Way = "open";
  #writing: Way = "open";
  #pendingRead: PendingRead | undefined;
  #rejectWrite: ((error: Error) => void) | undefined;
  /** Arrived, and not read out yet. */
  #chunk: Uint8Array = NOTHING;
  #isNativeReading = false;
  #isAtEnd = false;
  #gatherTimer: NodeJS.Timeout | undefined;
  #codeTimer: NodeJS.Timeout | undefined;
  #receivedLength = 0;
  #isDone = false;
  #closed: Promise<Error | undefined> | undefined;
  #settleClosed: ((error: Error | undefined) => void) | undefined;
  #outcome: { readonly error: Error | undefined } | undefined;

  constructor(
    carrier: StreamCarrier,
    init: { readonly id: number; readonly index: number; readonly native?: NativeStream },
  ) {
    this.#carrier = carrier;
    this.id = init.id;
    this.index = init.index;
    this.#native = init.native;
    this.isOurs = init.native === undefined;
  }

  get receivedLength(): number {
    return this.#receivedLength;
  }

  /** Whether it has been asked for and not been granted yet. */
  get isOpening(): boolean {
    return this.#opening !== undefined && this.#native === undefined;
  }

  get isWritable(): boolean {
    return this.#writing === "open";
  }

  get closed(): Promise<Error | undefined> {
    this.#closed ??= new Promise((resolve) => {
      if (this.#outcome === undefined) this.#settleClosed = resolve;
      else resolve(this.#outcome.error);
    });
    return this.#closed;
  }

  get #isReadableAfterFailure(): boolean {
    return this.#carrier.isReadableAfterFailure && this.#native !== undefined;
  }

  // Reading.

  read(into: Uint8Array, leastLength = 1): Promise<number> {
    try {
      assertBytes(`Cannot read stream ${this.id}`, into);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!(leastLength >= 1 && leastLength <= into.byteLength)) {
      return Promise.reject(
        new RangeError(
          `Cannot read stream ${this.id}: at least ${leastLength} bytes wanted, buffer has ${into.byteLength}`,
        ),
      );
    }
    if (this.#pendingRead !== undefined) {
      return Promise.reject(new Error(`Cannot read stream ${this.id}: another read is waiting`));
    }
    if (this.#reading !== "open") {
      return this.#reading === "ended" ? Promise.resolve(0) : Promise.reject(this.#reading);
    }
    const failure = this.#carrier.failure(`Cannot read stream ${this.id}`);
    if (failure !== undefined && !this.#isReadableAfterFailure) {
      this.#failRead(failure);
      return Promise.reject(failure);
    }
    return new Promise((resolve, reject) => {
      this.#pendingRead = { into, leastLength, filled: 0, resolve, reject };
      this.#resumeRead();
    });
  }

  #resumeRead(): void {
    const pending = this.#pendingRead;
    if (pending === undefined) return;
    const isCut = !this.#fill(pending);
    if (isCut) return;
    if (pending.filled >= pending.leastLength) this.#resolveRead();
    else if (this.#isAtEnd) this.#finishRead();
    else {
      this.#readNative(pending.into.byteLength);
      if (pending.filled > 0) {
        this.#gatherTimer ??= setTimeout(() => this.#resolveRead(), GATHER_MS);
      }
    }
  }

  /** Copies what has arrived; false if the buffer is gone. */
  #fill(pending: PendingRead): boolean {
    if (pending.into.byteLength === 0) {
      this.#abandonRead(0, new TypeError(`Cannot read stream ${this.id}: the buffer was detached`));
      return false;
    }
    const length = Math.min(this.#chunk.byteLength, pending.into.byteLength - pending.filled);
    pending.into.set(this.#chunk.subarray(0, length), pending.filled);
    pending.filled += length;
    this.#chunk = length === this.#chunk.byteLength ? NOTHING : this.#chunk.subarray(length);
    return true;
  }

  #readNative(room: number): void {
    const native = this.#native;
    if (native === undefined || this.#isNativeReading) return;
    this.#isNativeReading = true;
    const length = room < SMALL_READ_LENGTH ? SMALL_READ_LENGTH : READ_LENGTH;
    native.read(length).then(
      (bytes) => {
        this.#isNativeReading = false;
        this.#onBytes(bytes);
      },
      (error: unknown) => {
        this.#isNativeReading = false;
        this.#onReadError(error);
      },
    );
  }

  #onBytes(bytes: Uint8Array | null): void {
    if (this.#reading !== "open") return;
    if (bytes === null) {
      this.#isAtEnd = true;
    } else {
      this.#chunk = bytes;
      this.#receivedLength += bytes.byteLength;
      this.#carrier.moved(bytes.byteLength);
    }
    this.#resumeRead();
  }

  #onReadError(error: unknown): void {
    if (this.#reading !== "open") return;
    // A lost connection hears so itself, and then calls `fail`; if it has, the last bytes have been read.
    const failure = this.#carrier.failure(`Cannot read stream ${this.id}`);
    const text = error instanceof Error ? error.message : String(error);
    if (failure !== undefined) this.#failRead(failure);
    else if (text.startsWith("stream reset by peer")) {
      this.#codeTimer = setTimeout(() => this.onPeerReset(undefined), CODE_WAIT_MS);
    }
  }

  #resolveRead(): void {
    const pending = this.#pendingRead;
    this.#stopGathering();
    this.#pendingRead = undefined;
    pending?.resolve(pending.filled);
  }

  /** The end is reached, perhaps with the last bytes: the next read gets the 0 then. */
  #finishRead(): void {
    this.#reading = "ended";
    this.#carrier.tell(this, "received", 0);
    this.#resolveRead();
    this.#settle();
  }

  #stopGathering(): void {
    clearTimeout(this.#gatherTimer);
    this.#gatherTimer = undefined;
  }

  // Writing.

  write(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes, false);
  }

  end(bytes: Uint8Array = NOTHING): Promise<void> {
    return this.#write(bytes, true);
  }

  #write(bytes: Uint8Array, isLast: boolean): Promise<void> {
    const what = `Cannot write stream ${this.id}`;
    try {
      assertBytes(what, bytes);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#rejectWrite !== undefined) {
      return Promise.reject(new Error(`${what}: another write is waiting`));
    }
    if (this.#writing !== "open") {
      if (this.#writing !== "ended") return Promise.reject(this.#writing);
      return Promise.reject(new QuicError("ERR_CLOSED", `${what}: its end has been written`));
    }
    if (bytes.byteLength === 0 && !isLast) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#rejectWrite = reject;
      this.#writeNative(bytes, isLast).then(
        () => {
          if (this.#writing !== "open") return;
          this.#rejectWrite = undefined;
          if (isLast) this.#finishWrite();
          resolve();
        },
        (error: unknown) => this.#onWriteError(error),
      );
    });
  }

  async #writeNative(bytes: Uint8Array, isLast: boolean): Promise<void> {
    const native = this.#native ?? (await this.#open());
    // Both at once would be two tasks, in no order.
    if (bytes.byteLength > 0 && this.#writing === "open") await native.write(bytes);
    if (isLast && this.#writing === "open") await native.finishWrite();
    this.#carrier.moved(bytes.byteLength);
  }

  #finishWrite(): void {
    this.#writing = "ended";
    this.#carrier.onWritten(this);
    this.#settle();
  }

  #onWriteError(error: unknown): void {
    if (this.#writing !== "open") return;
    const what = `Cannot write stream ${this.id}`;
    const text = error instanceof Error ? error.message : String(error);
    const failure = this.#carrier.failure(what);
    if (failure !== undefined) this.#failWrite(failure);
    else if (error instanceof QuicError) this.#failWrite(error);
    else if (text.startsWith("sending stopped by peer")) {
      // The code comes over the control stream, which this may have overtaken.
      setTimeout(() => this.onPeerStop(undefined), STOP_CODE_WAIT_MS).unref();
    }
    // Otherwise the connection is lost, and calls `fail` when it hears so.
  }

  #open(): Promise<NativeStream> {
    this.#opening ??= this.#carrier.open(this).then((native) => {
      this.#native = native;
      this.index = Number(native.id());
      this.#carrier.onOpened(this);
      // What happened while it was being opened.
      if (this.#writing !== "open") this.#tellReset(0);
      if (this.#reading !== "open") this.#tellStop(0);
      else if (this.#pendingRead !== undefined) this.#resumeRead();
      return native;
    });
    return this.#opening;
  }

  // Ends.

  reset(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    if (this.#writing !== "open") return;
    this.#tellReset(code);
    this.#failWrite(
      new QuicError("ERR_CLOSED", `Cannot write stream ${this.id}: it was reset on this side`),
    );
  }

  stopReading(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    const what = `Cannot read stream ${this.id}`;
    this.#abandonRead(
      code,
      new QuicError("ERR_CLOSED", `${what}: reading was stopped on this side`),
    );
  }

  #abandonRead(code: number, error: Error): void {
    if (this.#reading !== "open") return;
    this.#tellStop(code);
    this.#failRead(error);
  }

  #tellReset(code: number): void {
    if (this.#native === undefined) return;
    this.#carrier.onAbandoned();
    this.#carrier.tell(this, "reset", code);
    this.#native.resetWrite().catch(ignore);
  }

  #tellStop(code: number): void {
    if (this.#native === undefined) return;
    this.#carrier.onAbandoned();
    this.#carrier.tell(this, "stop", code);
    this.#native.stopRead().catch(ignore);
  }

  /** The peer has ended its side abruptly. */
  onPeerReset(code: number | undefined): void {
    if (this.#reading !== "open") return;
    this.#native?.stopRead().catch(ignore); // frees what is buffered
    const why = code === undefined ? "" : ` with code ${code}`;
    this.#failRead(
      new QuicError("ERR_STREAM_RESET", `Cannot read stream ${this.id}: the peer reset it${why}`, {
        applicationCode: code,
      }),
    );
  }

  /** The peer wants nothing more. */
  onPeerStop(code: number | undefined): void {
    if (this.#writing !== "open") return;
    this.#native?.resetWrite().catch(ignore); // ends the peer's read that waits
    const why = code === undefined ? "" : ` with code ${code}`;
    const text = `Cannot write stream ${this.id}: the peer stopped reading it${why}`;
    this.#failWrite(new QuicError("ERR_STREAM_STOPPED", text, { applicationCode: code }));
  }

  /** The peer grants no such stream. */
  refuse(): void {
    const text = `Cannot open stream ${this.id}: the peer grants no further stream`;
    const error = new QuicError("ERR_STREAM_LIMIT", text);
    this.#failWrite(error);
    this.#failRead(error);
  }

  /** The connection is over: whoever waits hears why. What has arrived can still be read where that is allowed. */
  fail(): void {
    const failure =
      this.#carrier.failure(`Stream ${this.id} ended early`) ??
      new QuicError("ERR_CLOSED", `Stream ${this.id} ended early: the connection is closed`);
    if (this.#writing === "open") this.#failWrite(failure);
    if (this.#reading !== "open") return;
    // A native read that waits ends by itself, with the last bytes or with an error.
    if (
      !this.#isReadableAfterFailure ||
      (this.#pendingRead !== undefined && !this.#isNativeReading)
    ) {
      this.#failRead(failure);
    } else {
      this.#settleOutcome(failure);
    }
  }

  #failRead(error: Error): void {
    if (this.#reading !== "open") return;
    this.#reading = error;
    this.#chunk = NOTHING;
    clearTimeout(this.#codeTimer);
    this.#stopGathering();
    const pending = this.#pendingRead;
    this.#pendingRead = undefined;
    pending?.reject(error);
    this.#settleOutcome(error);
    this.#settle();
  }

  #failWrite(error: Error): void {
    if (this.#writing !== "open") return;
    this.#writing = error;
    const reject = this.#rejectWrite;
    this.#rejectWrite = undefined;
    reject?.(error);
    this.#settleOutcome(error);
    this.#settle();
  }

  #settle(): void {
    if (this.#isDone || this.#reading === "open" || this.#writing === "open") return;
    this.#isDone = true;
    this.#settleOutcome(undefined);
    this.#carrier.onDone(this);
  }

  #settleOutcome(error: Error | undefined): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = { error };
    this.#settleClosed?.(error);
  }
}

/** Resets and stops fail only on a connection that is over: there is nobody left to tell. */
function ignore(): void {
  // Nothing is left to do.
}
