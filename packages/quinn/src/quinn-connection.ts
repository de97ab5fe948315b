import {
  assertInteger,
  closeError,
  KeepAlive,
  type QuicAddress,
  type QuicCloseReason,
  type QuicConnection,
  type QuicConnectionStats,
  type QuicError,
  type QuicStream,
  type ResolvedOptions,
} from "@damselfly/quic";
import type { NativeConnection, NativeStream } from "./binding.ts";
import { ControlChannel } from "./control-channel.ts";
import type { ControlMessage, StreamRef } from "./control-message.ts";
import { readNativeClose } from "./native-close.ts";
import { NOT_OPENED, QuinnStream, type StreamCarrier } from "./quinn-stream.ts";
import { type Traffic, TrafficMeter } from "./traffic-meter.ts";

/** Silence of the peer between its handshake and its first words. */
const HELLO_TIMEOUT_MS = 10_000;
/** How long a peer that was told of the close has to answer by ending the connection. */
const LINGER_MS = 500;
/** Notes of what was read to its end leave together. */
const RECEIVED_DELAY_MS = 20;
/** Resets and stops kept for streams that have not shown up yet. */
const EARLY_COUNT_MAX = 4096;
/** Finished streams that a peer may leave without a word of their arrival; then the oldest is forgotten. */
const UNRECEIVED_COUNT_MAX = 65_536;
/** However short the idle timeouts: pings cost packets. */
const PATIENCE_MS_MIN = 30;
/** A peer to be turned away is waited for no longer than this: it can be told nothing before it has spoken. */
const REFUSAL_TIMEOUT_MS = 1_000;

const PROTOCOL_VIOLATION = 0xa;
/** TLS alert 120, no application protocol, as a transport error (RFC 9001, section 4.8). */
const NO_PROTOCOL = 0x178;

export interface QuinnConnectionHost {
  readonly options: ResolvedOptions;
  /** Of all connections together. */
  readonly traffic: Traffic;
  /** The peer dialled us and has said hello. */
  onAccepted(connection: QuinnConnection): void;
  onEnded(connection: QuinnConnection): void;
  /** The native connection is over too. */
  onRemoved(connection: QuinnConnection): void;
}

export interface QuinnConnectionInit {
  readonly native: NativeConnection;
  readonly isDialler: boolean;
  readonly remote: QuicAddress;
  /** The key that the peer has proven to hold. */
  readonly peerKey: string;
  readonly handshakeMs: number;
  /** With it the peer is told so, and nothing of it is heard. */
  readonly refusal?: { readonly code: number; readonly text: string };
}

/**
 * One connection: the native one, whose calls wait on threads of its own, and beside it the control stream that
 * carries what the native layer cannot (`ControlMessage`).
 */
export class QuinnConnection implements QuicConnection, StreamCarrier {
  readonly isDialler: boolean;
  readonly remoteAddress: QuicAddress;
  readonly peerKey: string;
  readonly peerCertificates: readonly Uint8Array[] = [];
  readonly isEarly = false;
  readonly ticket = undefined;
  /** There is no connection before its handshake here. */
  readonly established: Promise<void> = Promise.resolve();
  readonly closed: Promise<QuicCloseReason>;

  readonly #host: QuinnConnectionHost;
  readonly #native: NativeConnection;
  readonly #init: QuinnConnectionInit;
  readonly #meter: TrafficMeter;
  readonly #streams = new Set<QuinnStream>();
  /** Those that are open natively, by `keyOf`. */
  readonly #byKey = new Map<number, QuinnStream>();
  /** What the peer said of streams that have not come yet. */
  readonly #early = new Map<number, ControlMessage & { kind: "reset" | "stop" }>();
  /** Written to their ends, and not known to have arrived. */
  readonly #unreceived = new Set<number>();
  /** Came before anybody asked for streams. */
  #waiting: QuinnStream[] = [];
  #control: ControlChannel | undefined;
  #isGreeted = false;
  #isRemoved = false;
  #closeReason: QuicCloseReason | undefined;
  #settleClosed!: (reason: QuicCloseReason) => void;
  #onStream: ((stream: QuicStream) => void) | undefined;
  #helloTimer: NodeJS.Timeout | undefined;
  #lingerTimer: NodeJS.Timeout | undefined;
  #received: StreamRef[] = [];
  #receivedTimer: NodeJS.Timeout | undefined;
  #onFlushed: (() => void) | undefined;
  #opening: Promise<unknown> = Promise.resolve();
  #keepAlive: KeepAlive | undefined;
  #retainCount = 0;
  #peerIdleTimeoutMs = Number.POSITIVE_INFINITY;
  #peerStreamCountMax = Number.POSITIVE_INFINITY;
  /** Of the peer's streams, the control stream included. */
  #nextIndex = 0;
  #ownCount = 0;
  #openedStreamCount = 0;
  #abandonedStreamCount = 0;

  constructor(host: QuinnConnectionHost, init: QuinnConnectionInit) {
    this.#host = host;
    this.#init = init;
    this.#native = init.native;
    this.#meter = new TrafficMeter(init.native, host.traffic);
    this.isDialler = init.isDialler;
    this.remoteAddress = init.remote;
    this.peerKey = init.peerKey;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  /** Begins to listen and, dialling, to speak. Resolves when the peer can be spoken to. */
  async start(): Promise<void> {
    const helloMs = this.#init.refusal === undefined ? HELLO_TIMEOUT_MS : REFUSAL_TIMEOUT_MS;
    this.#helloTimer = setTimeout(() => this.#break("it does not say hello"), helloMs);
    if (this.isDialler) {
      try {
        this.#openControl(await this.#native.outboundStream());
      } catch (error) {
        this.#onNativeEnd(error);
      }
    }
    void this.#takeStreams();
  }

  get isOpen(): boolean {
    return this.#closeReason === undefined;
  }

  get onStream(): ((stream: QuicStream) => void) | undefined {
    return this.#onStream;
  }

  set onStream(take: ((stream: QuicStream) => void) | undefined) {
    this.#onStream = take;
    for (const stream of this.#waiting.splice(0)) this.#hand(stream);
  }

  openStream(): QuicStream {
    const failure = this.failure("Cannot open stream");
    if (failure !== undefined) throw failure;
    const id = 4 * this.#ownCount++ + (this.isDialler ? 0 : 1);
    const stream = new QuinnStream(this, { id, index: NOT_OPENED });
    this.#openedStreamCount++;
    this.#streams.add(stream);
    return stream;
  }

  retain(): () => void {
    let isHeld = true;
    this.#retainCount++;
    if (this.#keepAlive === undefined) this.#armKeepAlive();
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#retainCount--;
      if (this.#retainCount === 0) this.#disarmKeepAlive();
    };
  }

  close(code: number, reason = ""): void {
    assertInteger("code", code, 0, Number.MAX_SAFE_INTEGER);
    this.closeAs({ by: "here", isApplication: true, code, text: reason.slice(0, 256) });
  }

  /** Closes for `reason`, whose `by` is `here`, and tells the peer. */
  closeAs(reason: QuicCloseReason): void {
    if (this.#closeReason !== undefined) return;
    const { isApplication, code, text } = reason;
    this.#control?.send({ kind: "close", isApplication, code, text });
    this.#end(reason);
    if (this.#control === undefined) this.#native.abort();
    // The native close would overtake that message. The peer answers it by closing natively.
    else this.#lingerTimer = setTimeout(() => this.#native.abort(), LINGER_MS);
  }

  /** Ends everything at once; the peer hears of a close with code 0. */
  abort(): void {
    clearTimeout(this.#lingerTimer);
    this.#end({ by: "lost", isApplication: false, code: 0, text: "" });
    this.#native.abort();
  }

  /** Resolves when finished streams have reached the peer, or cannot any more, or time is up. */
  async flushed(timeoutMs: number): Promise<void> {
    if (this.#unreceived.size === 0 || !this.isOpen) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onFlushed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  stats(): QuicConnectionStats {
    const { traffic, native } = this.#meter.sample();
    return {
      handshakeMs: this.#init.handshakeMs,
      earlyData: "none",
      congestionControl: "cubic",
      rttMs: native.pathRtt,
      congestionWindowBytes: native.pathCwnd,
      packetLength: 0, // quinn finds it out, and does not say
      sentPacketCount: traffic.sentPacketCount,
      receivedPacketCount: traffic.receivedDatagramCount,
      lostPacketCount: traffic.lostPacketCount,
      sentBytes: traffic.sentBytes,
      receivedBytes: traffic.receivedBytes,
      lostBytes: traffic.lostBytes,
      retransmittedBytes: traffic.lostBytes,
      streamCount: this.#streams.size,
      openedStreamCount: this.#openedStreamCount,
      abandonedStreamCount: this.#abandonedStreamCount,
    };
  }

  /** Brings the endpoint's sums up to date. */
  sample(): void {
    this.#meter.sample();
  }

  // What its streams call.

  get isReadableAfterFailure(): boolean {
    const by = this.#closeReason?.by;
    return by === "peer" || by === "idle-timeout";
  }

  failure(what: string): QuicError | undefined {
    return this.#closeReason === undefined ? undefined : closeError(this.#closeReason, what);
  }

  /** One after the other: the native layer gives streams that are asked for at once in any order. */
  open(stream: QuinnStream): Promise<NativeStream> {
    const opened = this.#opening.then(() => {
      this.#refuseBeyondLimit();
      if (!stream.isWritable) throw new Error("Nobody needs the stream any more");
      return this.#native.outboundStream();
    });
    this.#opening = opened.catch(() => undefined);
    return opened;
  }

  onOpened(stream: QuinnStream): void {
    if (this.#streams.has(stream)) this.#byKey.set(keyOf(this.#refOf(stream)), stream);
  }

  tell(stream: QuinnStream, kind: "reset" | "stop" | "received", code: number): void {
    const ref = this.#refOf(stream);
    if (kind !== "received") {
      this.#control?.send({ kind, stream: ref, code });
      return;
    }
    this.#received.push(ref);
    this.#receivedTimer ??= setTimeout(() => this.#tellReceived(), RECEIVED_DELAY_MS);
  }

  #tellReceived(): void {
    this.#receivedTimer = undefined;
    for (const stream of this.#received.splice(0)) {
      this.#control?.send({ kind: "received", stream });
    }
  }

  moved(length: number): void {
    this.#meter.moved(length);
  }

  onAbandoned(): void {
    this.#abandonedStreamCount++;
  }

  onWritten(stream: QuinnStream): void {
    const [oldest] = this.#unreceived;
    if (oldest !== undefined && this.#unreceived.size >= UNRECEIVED_COUNT_MAX) {
      this.#unreceived.delete(oldest);
    }
    this.#unreceived.add(keyOf(this.#refOf(stream)));
  }

  onDone(stream: QuinnStream): void {
    this.#streams.delete(stream);
    if (stream.index !== NOT_OPENED) this.#byKey.delete(keyOf(this.#refOf(stream)));
  }

  #refOf({ index, isOurs }: QuinnStream): StreamRef {
    return { index, isDiallers: isOurs === this.isDialler };
  }

  /** A stream that the peer will not grant would wait for ever. */
  #refuseBeyondLimit(): void {
    let count = 0;
    for (const stream of this.#streams) {
      if (!stream.isOurs) continue;
      if (count < this.#peerStreamCountMax) count++;
      else if (stream.isOpening) stream.refuse();
    }
  }

  // What arrives.

  async #takeStreams(): Promise<void> {
    try {
      for (;;) {
        const native = await this.#native.inboundStream();
        const index = this.#nextIndex++;
        if (!this.isDialler && index === 0) this.#openControl(native);
        else this.#take(native, index);
      }
    } catch (error) {
      this.#onNativeEnd(error);
    }
  }

  #openControl(native: NativeStream): void {
    const { options } = this.#host;
    const control = new ControlChannel(native, {
      onMessage: (message) => this.#onMessage(message),
      onBroken: (reason) => this.#break(reason),
    });
    this.#control = control;
    const { refusal } = this.#init;
    if (refusal !== undefined) {
      this.closeAs({ by: "here", isApplication: false, ...refusal });
      return;
    }
    control.send({
      kind: "hello",
      alpn: options.alpn,
      streamCountMax: options.limits.streamCountMax,
      idleTimeoutMs: options.idleTimeoutMs,
    });
  }

  #take(native: NativeStream, index: number): void {
    if (!this.isOpen) {
      native.resetWrite().catch(() => undefined);
      native.stopRead().catch(() => undefined);
      return;
    }
    this.#openedStreamCount++;
    const id = 4 * index + (this.isDialler ? 1 : 0);
    const stream = new QuinnStream(this, { id, index, native });
    this.#streams.add(stream);
    this.onOpened(stream);
    if (this.#onStream === undefined) this.#waiting.push(stream);
    else this.#hand(stream);
    const key = keyOf(this.#refOf(stream));
    const early = this.#early.get(key);
    if (early === undefined) return;
    this.#early.delete(key);
    this.#apply(stream, early);
  }

  #hand(stream: QuinnStream): void {
    try {
      this.#onStream?.(stream);
    } catch (error) {
      this.#host.options.logger?.warn({ err: error }, "The handler of a new QUIC stream threw");
      stream.stopReading(0);
      stream.reset(0);
    }
  }

  #onMessage(message: ControlMessage): void {
    if (message.kind === "close") {
      const { isApplication, code } = message;
      const text = message.text.replaceAll(/\p{C}/gu, "?").slice(0, 256);
      this.#end({ by: "peer", isApplication, code, text });
      this.#native.abort();
      return;
    }
    if (this.#isGreeted === (message.kind === "hello")) {
      this.#break("its first words are no hello, or not its only one");
      return;
    }
    if (!this.isOpen) return;
    switch (message.kind) {
      case "hello":
        this.#onHello(message);
        break;
      case "reset":
      case "stop":
        this.#onVerdict(message);
        break;
      case "received":
        this.#forget(keyOf(message.stream));
        break;
      case "ping":
        break;
    }
  }

  #onHello(hello: ControlMessage & { kind: "hello" }): void {
    this.#isGreeted = true;
    clearTimeout(this.#helloTimer);
    if (hello.alpn !== this.#host.options.alpn) {
      this.closeAs({ by: "here", isApplication: false, code: NO_PROTOCOL, text: "" });
      return;
    }
    this.#peerStreamCountMax = hello.streamCountMax;
    this.#peerIdleTimeoutMs = hello.idleTimeoutMs;
    this.#refuseBeyondLimit();
    this.#armKeepAlive();
    if (!this.isDialler) this.#host.onAccepted(this);
  }

  #onVerdict(message: ControlMessage & { kind: "reset" | "stop" }): void {
    const { index, isDiallers } = message.stream;
    const key = keyOf(message.stream);
    if (message.kind === "stop") this.#forget(key);
    const stream = this.#byKey.get(key);
    if (stream !== undefined) {
      this.#apply(stream, message);
    } else if (isDiallers !== this.isDialler && index >= this.#nextIndex) {
      // The stream itself is still on its way.
      if (this.#early.size >= EARLY_COUNT_MAX) this.#break("it speaks of too many streams");
      else this.#early.set(key, message);
    }
  }

  #apply(stream: QuinnStream, { kind, code }: { kind: "reset" | "stop"; code: number }): void {
    if (kind === "reset") stream.onPeerReset(code);
    else stream.onPeerStop(code);
  }

  #forget(key: number): void {
    if (this.#unreceived.delete(key) && this.#unreceived.size === 0) this.#onFlushed?.();
  }

  // The end.

  #break(reason: string): void {
    const text = `Cannot understand the peer: ${reason}`.slice(0, 256);
    this.closeAs({ by: "here", isApplication: false, code: PROTOCOL_VIOLATION, text });
  }

  #onNativeEnd(error: unknown): void {
    this.#end(readNativeClose(error instanceof Error ? error.message : String(error)));
    this.#native.abort();
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    clearTimeout(this.#lingerTimer);
    this.#control?.stop();
    this.#meter.sample();
    this.#host.onRemoved(this);
  }

  /** The one way into being over: everything that waits hears why. */
  #end(reason: QuicCloseReason): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    clearTimeout(this.#helloTimer);
    clearTimeout(this.#receivedTimer);
    this.#disarmKeepAlive();
    for (const stream of this.#streams) stream.fail();
    this.#unreceived.clear();
    this.#early.clear();
    this.#onFlushed?.();
    this.#host.onEnded(this);
    this.#settleClosed(reason);
  }

  #armKeepAlive(): void {
    if (!this.isDialler || !this.isOpen || this.#retainCount === 0) return;
    const { idleTimeoutMs, deadAfterMs } = this.#host.options;
    this.#disarmKeepAlive();
    this.#keepAlive = new KeepAlive({
      // Before either idle timer runs out.
      patienceMs: Math.max(
        PATIENCE_MS_MIN,
        Math.min(idleTimeoutMs, deadAfterMs, this.#peerIdleTimeoutMs),
      ),
      countReceived: () => this.#native.stats().udpRxDatagrams,
      ping: () => this.#control?.send({ kind: "ping" }),
      onSilence: () => {
        this.#end({ by: "idle-timeout", isApplication: false, code: 0, text: "" });
        this.#native.abort();
      },
    });
  }

  #disarmKeepAlive(): void {
    this.#keepAlive?.stop();
    this.#keepAlive = undefined;
  }
}

function keyOf({ index, isDiallers }: StreamRef): number {
  return 2 * index + (isDiallers ? 1 : 0);
}
