import { assertBytes } from "./assert-bytes.ts";
import { type NativeConnection, parseNativeError } from "./binding.ts";
import { assertInteger } from "./endpoint-options.ts";
import { QuicError } from "./errors.ts";
import type { QuicStream } from "./quic.ts";

/** What a stream needs from the connection it runs on. */
export interface StreamCarrier {
  readonly native: NativeConnection;
  /** Streams whose read waits for bytes. */
  readonly readers: Set<QuicheStream>;
  /** Streams whose write waits for room, in the order they are next served; `enqueueWriter` adds to them. */
  readonly writers: Set<QuicheStream>;
  enqueueWriter(stream: QuicheStream): void;
  /** Streams that hold back a byte until the next turn. */
  readonly holding: Set<QuicheStream>;
  /** Streams whose end waits for a moment when it can leave at once. */
  readonly ending: Set<QuicheStream>;
  /** Bytes the peer lets us send on a stream without renewing its credit. */
  firstCreditOf(streamId: number): number;
  /** A waiting read has got something, but less than it hopes for: it is resolved in a moment anyway. */
  awaitMore(): void;
  /** Why the connection carries nothing more, worded for `what`; undefined while it does. */
  failure(what: string): QuicError | undefined;
  /** Whether bytes that had arrived before the failure may still be read. */
  readonly isReadableAfterFailure: boolean;
  /** Something may have to be sent. */
  touch(): void;
  onAbandoned(): void;
  /** Tells the peer of a reset, in the connection's turn. */
  sendReset(stream: QuicheStream, code: number): void;
  /** Sends the next packet more than once: it carries what the binding does not send again when it is lost. */
  repeatNext(): void;
  /** Both ways are over; `isAbandoned`: not both of them well, so nothing is waited for. */
  onDone(stream: QuicheStream, isAbandoned: boolean): void;
}

const NOTHING = new Uint8Array(0);

/** More than an empty frame and its packet's overhead. */
const END_ROOM = 64;

/** RFC 9000 allows 62 bits, a number holds 53. */
const CODE_MAX = Number.MAX_SAFE_INTEGER;

interface PendingRead {
  readonly into: Uint8Array;
  readonly leastLength: number;
  filled: number;
  readonly resolve: (length: number) => void;
  readonly reject: (error: Error) => void;
}

interface PendingWrite {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly isLast: boolean;
  taken: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** How one way of the stream stands: open, ended well, or the error that ended it. */
type Way = "open" | "ended" | Error;

/**
 * One bidirectional stream: two state machines, one a way, that share an end. Calls go straight to the binding where they can be served at once; else they wait
 * here until the connection's turn (`resumeRead`, `resumeWrite`). At most one read and one write wait.
 */
export class QuicheStream implements QuicStream {
  readonly id: number;
  readonly #carrier: StreamCarrier;
  #reading: Way = "open";
  #writing: Way = "open";
  #pendingRead: PendingRead | undefined;
  #pendingWrite: PendingWrite | undefined;
  #receivedLength = 0;
  #sentLength = 0;
  /** The last byte written, see `#hold`. */
  #held: Uint8Array | undefined;
  /** Whether the binding knows the stream: ours it meets with the first write. */
  #isKnown: boolean;
  /** What `stopReading` was called with. */
  #stopCode: number | undefined;
  /** Whether a reset or stop of ours leaves nothing to be delivered any more. */
  #isAbandoned = false;
  #isDone = false;
  #closed: Promise<Error | undefined> | undefined;
  #settleClosed: ((error: Error | undefined) => void) | undefined;
  #outcome: { readonly error: Error | undefined } | undefined;

  constructor(carrier: StreamCarrier, id: number, isOurs: boolean) {
    this.#carrier = carrier;
    this.id = id;
    this.#isKnown = !isOurs;
  }

  get receivedLength(): number {
    return this.#receivedLength;
  }

  /** Bytes the binding has taken over so far. */
  get sentLength(): number {
    return this.#sentLength;
  }

  get isWaitingToWrite(): boolean {
    return this.#pendingWrite !== undefined;
  }

  get closed(): Promise<Error | undefined> {
    this.#closed ??= new Promise((resolve) => {
      if (this.#outcome === undefined) this.#settleClosed = resolve;
      else resolve(this.#outcome.error);
    });
    return this.#closed;
  }

  /** Whether nothing is being written, but may be. */
  get #isWatched(): boolean {
    return this.#isKnown && this.#writing === "open" && this.#pendingWrite === undefined;
  }

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
    return new Promise((resolve, reject) => {
      this.#pendingRead = { into, leastLength, filled: 0, resolve, reject };
      this.#carrier.readers.add(this);
      this.resumeRead();
      // What was read may be worth new credit to the peer.
      if (this.#isKnown) this.#carrier.touch();
    });
  }

  /** Reads on; returns how many bytes came. */
  resumeRead(): number {
    const pending = this.#pendingRead;
    if (pending === undefined) return 0;
    const room = pending.filled === 0 ? pending.into : pending.into.subarray(pending.filled);
    if (room.byteLength === 0) {
      this.#shutdown(0, 0);
      this.#failRead(new TypeError(`Cannot read stream ${this.id}: the buffer was detached`));
      return 0;
    }
    const failure = this.#carrier.failure(`Cannot read stream ${this.id}`);
    if (failure !== undefined && !this.#carrier.isReadableAfterFailure) {
      this.#failRead(failure);
      return 0;
    }
    let length = 0;
    let isEnd = false;
    try {
      if (this.#isKnown) {
        const received = this.#carrier.native.streamRecv(this.id, room);
        if (received !== null) [length, isEnd] = received;
        else if (this.#carrier.native.streamFinished(this.id)) {
          // quiche 0.18 drops an end that comes with nothing but bytes it had before: a retransmission. It knows
          // the end all the same, but does not say so, and will not let go of the stream.
          isEnd = true;
          this.#isAbandoned = true;
        }
      }
      if (length === 0 && !isEnd) {
        if (failure !== undefined) this.#failRead(failure);
        return 0;
      }
    } catch (error) {
      this.#failRead(failure ?? this.#readError(error));
      return 0;
    }
    this.#receivedLength += length;
    pending.filled += length;
    if (isEnd) {
      this.#reading = "ended";
      this.#settle();
    }
    // Once the connection is over nobody comes back to a read that hopes for more.
    const isWaitOver = isEnd || failure !== undefined;
    if (isWaitOver || pending.filled >= pending.leastLength) this.resolveRead();
    else if (pending.filled > 0) this.#carrier.awaitMore();
    return length;
  }

  /** Hands over what a waiting read has got so far, if anything. */
  resolveRead(): void {
    const pending = this.#pendingRead;
    if (pending === undefined || (pending.filled === 0 && this.#reading !== "ended")) return;
    this.#pendingRead = undefined;
    this.#carrier.readers.delete(this);
    pending.resolve(pending.filled);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes, false);
  }

  end(bytes: Uint8Array = NOTHING): Promise<void> {
    return this.#write(bytes, true);
  }

  #write(bytes: Uint8Array, isLast: boolean): Promise<void> {
    try {
      assertBytes(`Cannot write stream ${this.id}`, bytes);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#pendingWrite !== undefined) {
      return Promise.reject(new Error(`Cannot write stream ${this.id}: another write is waiting`));
    }
    if (this.#writing !== "open") {
      if (this.#writing !== "ended") return Promise.reject(this.#writing);
      return Promise.reject(
        new QuicError("ERR_CLOSED", `Cannot write stream ${this.id}: its end has been written`),
      );
    }
    if (bytes.byteLength === 0 && !isLast) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const length = bytes.byteLength;
      this.#pendingWrite = { bytes, length, isLast, taken: 0, resolve, reject };
      const { writers, ending } = this.#carrier;
      if (length === 0 && this.#held === undefined) {
        ending.add(this);
      } else {
        // Whoever already waits for room is served first, in the connection's turn.
        if (writers.size === 0) this.resumeWrite(Number.MAX_SAFE_INTEGER);
        if (this.#pendingWrite !== undefined) this.#carrier.enqueueWriter(this);
      }
      this.#carrier.touch();
    });
  }

  /** Writes on, about `lengthMax` bytes at most; returns how many were taken. */
  resumeWrite(lengthMax: number): number {
    const pending = this.#pendingWrite;
    if (pending === undefined || this.#isWriteFailed()) return 0;
    if (pending.bytes.byteLength !== pending.length) {
      this.#shutdown(1, 0);
      this.#failWrite(new TypeError(`Cannot write stream ${this.id}: the buffer was detached`));
      return 0;
    }
    const { bytes, length, isLast } = pending;
    if (this.#held !== undefined && !this.#sendHeld(isLast && length === 0)) return 0;
    if (length === 0) return this.#writing === "ended" ? 1 : 0;

    const bodyLength = isLast ? length : length - 1;
    const stop = Math.min(bodyLength, pending.taken + lengthMax);
    let taken = 0;
    if (stop > pending.taken) {
      const part =
        stop === length && pending.taken === 0 ? bytes : bytes.subarray(pending.taken, stop);
      taken = this.#send(part, stop === length) ?? 0;
      pending.taken += taken;
    }
    if (pending.taken === bodyLength && this.#pendingWrite === pending) {
      if (!isLast) this.#hold(bytes[bodyLength] ?? 0);
      this.#finishWrite();
    }
    return taken;
  }

  /**
   * The last byte written stays here until the next turn, for the end to join it. quiche 0.18 takes a stream for
   * delivered when all its bytes are, and forgets it with an end that was still to be sent, or resent: only an end
   * that travels with bytes is safe.
   */
  #hold(byte: number): void {
    this.#held = Uint8Array.of(byte);
    this.#carrier.holding.add(this);
  }

  /** No end has come since the last turn: the byte held back for it leaves. */
  releaseHeld(): void {
    if (this.#pendingWrite === undefined && !this.#isWriteFailed()) this.#sendHeld(false);
  }

  #sendHeld(isEnd: boolean): boolean {
    if (this.#held === undefined || this.#send(this.#held, isEnd) === undefined) return false;
    this.#held = undefined;
    this.#carrier.holding.delete(this);
    if (isEnd) this.#finishWrite();
    return true;
  }

  /**
   * An end that comes late, with no byte to join. It is handed over only when it can leave at once, which makes
   * losing it (see `#hold`) as unlikely as losing its packet. True if it was.
   */
  sendEnd(): boolean {
    if (this.#isWriteFailed()) return false;
    try {
      const isCreditLeft = this.#sentLength + END_ROOM < this.#carrier.firstCreditOf(this.id);
      if (this.#isKnown && isCreditLeft) {
        if (this.#carrier.native.streamCapacity(this.id) < END_ROOM) return false;
      }
    } catch (error) {
      this.#failWrite(this.#writeError(error));
      return false;
    }
    if (this.#send(NOTHING, true) === undefined) return false;
    this.#carrier.ending.delete(this);
    this.#finishWrite();
    return true;
  }

  /** How many bytes the binding took; undefined: none now, or the stream is over and all is told. */
  #send(bytes: Uint8Array, isEnd: boolean): number | undefined {
    const { native } = this.#carrier;
    try {
      const taken = native.streamSend(this.id, bytes, isEnd);
      if (!this.#isKnown) this.#introduce();
      if (taken === null) {
        native.streamCapacity(this.id); // throws for a stream that the peer has ended
        return undefined;
      }
      this.#sentLength += taken;
      return taken;
    } catch (error) {
      this.#failWrite(this.#writeError(error));
      return undefined;
    }
  }

  /** The binding has met the stream: what was asked of it before can be told now. */
  #introduce(): void {
    this.#isKnown = true;
    if (this.#stopCode !== undefined) this.#shutdown(0, this.#stopCode);
  }

  #finishWrite(): void {
    const pending = this.#pendingWrite;
    this.#pendingWrite = undefined;
    this.#carrier.writers.delete(this);
    if (pending?.isLast === true) {
      this.#writing = "ended";
      this.#settle();
    }
    pending?.resolve();
  }

  #isWriteFailed(): boolean {
    const failure = this.#carrier.failure(`Cannot write stream ${this.id}`);
    if (failure !== undefined) this.#failWrite(failure);
    return this.#writing !== "open";
  }

  reset(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    if (this.#writing !== "open") return;
    this.#shutdown(1, code);
    this.#failWrite(
      new QuicError("ERR_CLOSED", `Cannot write stream ${this.id}: it was reset on this side`),
    );
    // The peer will never hear of the stream, so nothing can come from it.
    if (!this.#isKnown) this.stopReading(code);
  }

  stopReading(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    if (this.#reading !== "open") return;
    this.#stopCode = code;
    this.#shutdown(0, code);
    this.#failRead(
      new QuicError(
        "ERR_CLOSED",
        `Cannot read stream ${this.id}: reading was stopped on this side`,
      ),
    );
  }

  #shutdown(direction: 0 | 1, code: number): void {
    if (!this.#isKnown) return;
    this.#isAbandoned = true;
    this.#carrier.onAbandoned();
    if (direction === 1) {
      this.#carrier.sendReset(this, code);
    } else {
      try {
        this.#carrier.native.streamShutdown(this.id, direction, code);
      } catch {
        // The binding has let go of the stream already: there is nobody left to tell.
      }
      this.#carrier.repeatNext();
    }
    this.#carrier.touch();
  }

  /** Looks for what the binding does not tell: that the peer has stopped us, an end that it has overlooked. */
  look(): void {
    if (this.#pendingRead !== undefined) this.resumeRead();
    if (!this.#isWatched) return;
    try {
      this.#carrier.native.streamCapacity(this.id);
    } catch (error) {
      this.#failWrite(this.#writeError(error));
    }
  }

  /** Whether the peer has everything: the binding forgets a stream when it is over both ways and acknowledged. */
  get isFlushed(): boolean {
    try {
      this.#carrier.native.streamCapacity(this.id);
      return false;
    } catch {
      return true;
    }
  }

  /** The connection is over: whoever waits hears why. What has arrived can still be read where that is allowed. */
  fail(): void {
    this.resolveRead(); // with what it has gathered
    this.resumeRead(); // with what had arrived, or the reason
    if (this.#writing === "open") {
      this.#failWrite(
        this.#carrier.failure(`Cannot write stream ${this.id}`) ??
          new QuicError("ERR_CLOSED", `Cannot write stream ${this.id}: the connection is closed`),
      );
    }
    const failure = this.#carrier.failure(`Stream ${this.id} ended early`);
    if (this.#reading === "open") this.#settleOutcome(failure);
  }

  #failRead(error: Error): void {
    if (this.#reading === "open") this.#reading = error;
    const pending = this.#pendingRead;
    this.#pendingRead = undefined;
    this.#carrier.readers.delete(this);
    pending?.reject(error);
    this.#settleOutcome(error);
    this.#settle();
  }

  #failWrite(error: Error): void {
    if (this.#writing === "open") this.#writing = error;
    const pending = this.#pendingWrite;
    this.#pendingWrite = undefined;
    this.#held = undefined;
    this.#carrier.writers.delete(this);
    this.#carrier.holding.delete(this);
    this.#carrier.ending.delete(this);
    pending?.reject(error);
    this.#settleOutcome(error);
    this.#settle();
  }

  #settle(): void {
    if (this.#isDone || this.#reading === "open" || this.#writing === "open") return;
    this.#isDone = true;
    this.#settleOutcome(undefined);
    this.#carrier.onDone(this, this.#isAbandoned || !this.#isKnown);
  }

  #settleOutcome(error: Error | undefined): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = { error };
    this.#settleClosed?.(error);
  }

  #readError(error: unknown): QuicError {
    const native = parseNativeError(error);
    const what = `Cannot read stream ${this.id}`;
    if (native.name === "StreamReset") {
      return new QuicError(
        "ERR_STREAM_RESET",
        `${what}: the peer reset it with code ${native.value}`,
        {
          applicationCode: native.value,
        },
      );
    }
    return new QuicError("ERR_CONNECTION_LOST", `${what}: ${native.name}`, { cause: error });
  }

  #writeError(error: unknown): QuicError {
    const native = parseNativeError(error);
    const what = `Cannot write stream ${this.id}`;
    if (native.name === "StreamLimit") {
      return new QuicError("ERR_STREAM_LIMIT", `${what}: the peer grants no further stream`);
    }
    // A stopped stream that the peer has seen reset is simply unknown: the code is gone with it.
    const code = native.name === "StreamStopped" ? native.value : undefined;
    const suffix = code === undefined ? "" : ` with code ${code}`;
    return new QuicError("ERR_STREAM_STOPPED", `${what}: the peer stopped reading${suffix}`, {
      applicationCode: code,
      cause: error,
    });
  }
}
