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
  /** Why the connection carries nothing more, worded for `what`; undefined while it does. */
  failure(what: string): QuicError | undefined;
  /** Whether bytes that had arrived before the failure may still be read. */
  readonly isReadableAfterFailure: boolean;
  /** Something may have to be sent. */
  touch(): void;
  onAbandoned(): void;
  /** Both ways are over; `isAbandoned`: not both of them well, so nothing is waited for. */
  onDone(stream: QuicheStream, isAbandoned: boolean): void;
}

const NOTHING = new Uint8Array(0);

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
 * One bidirectional stream. Calls go straight to the binding where they can be served at once; else they wait
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
  /** Whether the binding knows the stream: ours it meets with the first write. */
  #isKnown: boolean;
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

  /** Whether only a look at the binding would show that the peer stopped us: nothing is being written, and may be. */
  get isWatched(): boolean {
    return this.#isKnown && this.#writing === "open" && this.#pendingWrite === undefined;
  }

  read(into: Uint8Array, leastLength = 1): Promise<number> {
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
      if (!this.#isKnown) return;
      this.resumeRead();
      // What was read may be worth new credit to the peer.
      this.#carrier.touch();
    });
  }

  /** Reads on; returns how many bytes came. */
  resumeRead(): number {
    const pending = this.#pendingRead;
    if (pending === undefined) return 0;
    const room = pending.filled === 0 ? pending.into : pending.into.subarray(pending.filled);
    if (room.byteLength === 0) {
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
      const received = this.#isKnown ? this.#carrier.native.streamRecv(this.id, room) : null;
      if (received === null) {
        if (failure !== undefined) this.#failRead(failure);
        return 0;
      }
      [length, isEnd] = received;
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
    if (isEnd || pending.filled >= pending.leastLength) {
      this.#pendingRead = undefined;
      this.#carrier.readers.delete(this);
      pending.resolve(pending.filled);
    }
    return length;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes, false);
  }

  end(bytes: Uint8Array = NOTHING): Promise<void> {
    return this.#write(bytes, true);
  }

  #write(bytes: Uint8Array, isLast: boolean): Promise<void> {
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
      // Whoever already waits for room is served first, in the connection's turn.
      if (this.#carrier.writers.size === 0) this.resumeWrite(Number.MAX_SAFE_INTEGER);
      if (this.#pendingWrite !== undefined) this.#carrier.enqueueWriter(this);
      this.#carrier.touch();
    });
  }

  /** Writes on, `lengthMax` bytes at most; returns how many were taken. */
  resumeWrite(lengthMax: number): number {
    const pending = this.#pendingWrite;
    if (pending === undefined) return 0;
    const failure = this.#carrier.failure(`Cannot write stream ${this.id}`);
    if (failure !== undefined) {
      this.#failWrite(failure);
      return 0;
    }
    const rest = pending.length - pending.taken;
    if (pending.bytes.byteLength !== pending.length) {
      this.#failWrite(new TypeError(`Cannot write stream ${this.id}: the buffer was detached`));
      return 0;
    }
    const isAll = rest <= lengthMax;
    const bytes =
      isAll && pending.taken === 0
        ? pending.bytes
        : pending.bytes.subarray(pending.taken, isAll ? undefined : pending.taken + lengthMax);
    let taken: number | null;
    try {
      taken = this.#carrier.native.streamSend(this.id, bytes, pending.isLast && isAll);
      this.#isKnown = true;
      if (taken === null) {
        this.#carrier.native.streamCapacity(this.id); // throws for a stream that the peer has ended
        return 0;
      }
    } catch (error) {
      this.#failWrite(this.#writeError(error));
      return 0;
    }
    pending.taken += taken;
    this.#sentLength += taken;
    if (pending.taken === pending.length) {
      this.#pendingWrite = undefined;
      this.#carrier.writers.delete(this);
      if (pending.isLast) {
        this.#writing = "ended";
        this.#settle();
      }
      pending.resolve();
    }
    return taken;
  }

  reset(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    if (this.#writing !== "open") return;
    if (this.#isKnown) this.#shutdown(1, code);
    this.#failWrite(
      new QuicError("ERR_CLOSED", `Cannot write stream ${this.id}: it was reset on this side`),
    );
  }

  stopReading(code: number): void {
    assertInteger("code", code, 0, CODE_MAX);
    if (this.#reading !== "open") return;
    if (this.#isKnown) this.#shutdown(0, code);
    this.#failRead(
      new QuicError(
        "ERR_CLOSED",
        `Cannot read stream ${this.id}: reading was stopped on this side`,
      ),
    );
  }

  #shutdown(direction: 0 | 1, code: number): void {
    this.#isAbandoned = true;
    this.#carrier.onAbandoned();
    try {
      this.#carrier.native.streamShutdown(this.id, direction, code);
    } catch {
      // The binding has let go of the stream already: there is nobody left to tell.
    }
    this.#carrier.touch();
  }

  /** Looks whether the peer has stopped us; see `isWatched`. */
  look(): void {
    if (!this.isWatched) return;
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
    while (this.#pendingRead !== undefined) this.resumeRead(); // each step takes what had arrived, the last one rejects
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
    this.#carrier.writers.delete(this);
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
