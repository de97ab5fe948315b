import { performance } from "node:perf_hooks";
import type { HostPort, NativeConnection, ReceiveInfo } from "./binding.ts";
import { CONNECTION_REFUSED, closeError, readCloseReason } from "./close-reason.ts";
import { endOfHandshakePacket, isHandshakePacket } from "./end-of-handshake-packet.ts";
import { assertInteger, type ResolvedOptions } from "./endpoint-options.ts";
import { QuicError } from "./errors.ts";
import { Handshake } from "./handshake.ts";
import { HandshakeProbe } from "./handshake-probe.ts";
import { HandshakeRepeats } from "./handshake-repeats.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { LengthPlan } from "./length-plan.ts";
import { PacketSender, toHostPort } from "./packet-sender.ts";
import { PathLength } from "./path-length.ts";
import { PeerCheck } from "./peer-check.ts";
import type {
  QuicAddress,
  QuicCloseReason,
  QuicCongestionControl,
  QuicConnection,
  QuicConnectionStats,
  QuicEarlyData,
  QuicStream,
  QuicTls,
} from "./quic.ts";
import { QuicheStream, type StreamCarrier } from "./quiche-stream.ts";
import { TICKET_AGE_MAX_MS, type TicketScope, toTicket } from "./ticket.ts";
import { SpareIds } from "./spare-ids.ts";
import type { ResetTokens } from "./stateless-reset.ts";
import type { UdpSocket } from "./udp-socket.ts";

// One turn of one connection is bounded by these, so that a fat transfer starves neither other connections nor
// timers; what is left over comes after everybody else's turn.

/** Bytes read out of the binding a turn. */
const READ_LENGTH_PER_TURN = 1024 * 1024;
/** Bytes written into the binding a turn. */
const WRITE_LENGTH_PER_TURN = 1024 * 1024;
/** Bytes that one of several waiting writers gets at a time. */
const WRITE_QUANTUM = 64 * 1024;
/** Streams looked at a turn that nothing else would wake up. */
const LOOKS_PER_TURN = 64;
/** Up to here polling each waiting reader (0.2 us) is cheaper than the binding's iterator (8 us). */
const POLLED_READERS_MAX = 32;

/** How long a reset waits for what was written before it to leave. */
const RESET_DELAY_MS = 100;
/** Bytes sent for each byte of a stream before its reset: for the packets around it, and for what was lost. */
const RESET_SHARE = 2;

/** How long a read that hopes for more waits for it. */
const GATHER_MS = 5;

const REASON_LENGTH_MAX = 256;
/**
 * Bytes taken before the handshake is over. What is sent until then is a few packets with certificates, and early data that fits the
 * first congestion window; quiche 0.18 keeps what it is sent of later TLS messages without a bound, from whomever it is.
 */
const HANDSHAKE_RECEIVED_MAX = 1024 * 1024;
/**
 * How long at least a peer is told again that the connection is closed. The binding's own time, three timeouts of a packet, is some
 * milliseconds on a short path: less than a busy machine is held up.
 */
const CLOSING_MS_MIN = 250;
/** Enough for what a client has to send to end its handshake, its certificates included. */
const HANDSHAKE_LENGTH_MAX = 32_768;

/** A reset that the peer is still to be told of. */
interface Reset {
  readonly id: number;
  readonly code: number;
  /** When it leaves in any case, on the clock of `performance.now`. */
  readonly dueAt: number;
  /** Once the connection has sent this many bytes, none of the stream is left: they have gone first. */
  readonly dueLength: number;
}

/** What a connection needs from its endpoint. */
export interface ConnectionHost {
  readonly options: ResolvedOptions;
  /** As it is at this moment. */
  readonly tls: QuicTls | "insecure";
  readonly socket: UdpSocket;
  readonly local: HostPort;
  readonly resetTokens: ResetTokens;
  /** Packets to this id, a map key, are the connection's from here on, or are not any more. */
  addKey(connection: QuicheConnection, key: string): void;
  deleteKey(connection: QuicheConnection, key: string): void;
  /** Gives the connection a turn soon. */
  touch(connection: QuicheConnection): void;
  /** Data can travel; the handshake may not be over. */
  onOpen(connection: QuicheConnection): void;
  onEstablished(connection: QuicheConnection): void;
  onEnded(connection: QuicheConnection): void;
  /** The binding is done with it: no late packet needs an answer any more. */
  onRemoved(connection: QuicheConnection): void;
  countSent(datagramCount: number): void;
}

export interface ConnectionInit {
  readonly native: NativeConnection;
  readonly lengths: LengthPlan;
  readonly isDialler: boolean;
  readonly remote: QuicAddress;
  /** Whether the dialler has shown that it is there. */
  readonly isRemoteProven: boolean;
  /** Under these connection ids the endpoint finds it. */
  readonly keys: readonly string[];
  readonly handshakeTimeoutMs: number;
  /** As configured in `native`. */
  readonly congestionControl: QuicCongestionControl;
  /** Of a dialled connection, where tickets are used. */
  readonly ticketScope?: TicketScope | undefined;
  /** `native` was given a ticket with this last moment of use, in milliseconds since 1970. */
  readonly ticketExpiresAt?: number | undefined;
}

/**
 * One connection: a state machine over the binding's, driven by the endpoint. Packets come in through `receive`,
 * which only decrypts; everything else happens once a burst, in `turn`: finished handshakes, waiting reads, new
 * streams, waiting writes, packets out, the timer. It stays registered until the binding calls it closed, so
 * that a late packet does not look like a new peer's.
 */
export class QuicheConnection implements QuicConnection, StreamCarrier {
  readonly native: NativeConnection;
  readonly isDialler: boolean;
  readonly keys: Set<string>;
  readonly readers: Set<QuicheStream> = new Set();
  readonly writers: Set<QuicheStream> = new Set();
  readonly holding: Set<QuicheStream> = new Set();
  readonly ending: Set<QuicheStream> = new Set();
  readonly closed: Promise<QuicCloseReason>;
  /** Whether the endpoint has it in its queue of turns; the endpoint's to change. */
  isQueued = false;

  readonly #host: ConnectionHost;
  readonly #sender: PacketSender;
  readonly #lengths: PathLength;
  readonly #streams = new Map<number, QuicheStream>();
  /** Over on both ways, but the peer may not have everything yet. */
  readonly #lingering = new Set<QuicheStream>();
  readonly #handshake: Handshake;
  readonly #peer: PeerCheck;
  readonly #init: ConnectionInit;
  readonly #spareIds: SpareIds;
  /** What the last packet came with; one object as long as nothing changes, for it is read on every packet. */
  #receiveInfo: ReceiveInfo;
  #receivedFromIp: string;
  #phase: "handshake" | "open" | "over" | "removed" = "handshake";
  /** Datagrams that came since it is over. */
  #overCount = 0;
  /** Until when a peer that has not heard the close is told again; on the clock of `performance`. */
  #closingUntil = 0;
  #closingTimer: NodeJS.Timeout | undefined;
  readonly #repeats: HandshakeRepeats;
  #handshakeProbe: HandshakeProbe | undefined;
  #closeReason: QuicCloseReason | undefined;
  /** Takes the place of the close reason in errors, where this side knows better. */
  #closeCause: QuicError | undefined;
  #settleClosed!: (reason: QuicCloseReason) => void;
  #onStream: ((stream: QuicStream) => void) | undefined;

  /** Milliseconds since 1970. */
  #establishedAt = 0;
  #handshakeTimer: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerDueAt = Number.POSITIVE_INFINITY;
  #isTimerDue = false;
  #keepAlive: KeepAlive | undefined;
  #gatherTimer: NodeJS.Timeout | undefined;
  #retainCount = 0;
  /** Datagrams so far. */
  #receiveCount = 0;
  /** Bytes before the end of the handshake. */
  #handshakeLength = 0;

  /** To be told to the peer. */
  #resets: Reset[] = [];
  #resetTimer: NodeJS.Timeout | undefined;

  #nextStreamId: number;
  #cursor: Iterator<QuicheStream>;
  /** Streams still to be looked at since the last packet came in. */
  #looksLeft = 0;
  /** Lingering streams still to be looked at since then. */
  #lingersLeft = 0;
  /** Waiting writers still to be tried since then, or since one was added. */
  #writesLeft = 0;
  /** What a peer lets us send on a stream without renewing its credit: [streams opened here, by the peer]. */
  #firstCredit: readonly [number, number] = [0, 0];
  #peerStreamCount = 0;
  #refusedStreamCount = 0;
  #openedStreamCount = 0;
  #abandonedStreamCount = 0;
  #onFlushed: (() => void) | undefined;

  constructor(host: ConnectionHost, init: ConnectionInit) {
    this.#host = host;
    this.#init = init;
    this.native = init.native;
    const isResuming = init.ticketExpiresAt !== undefined;
    this.#handshake = new Handshake(init.native, { isDialler: init.isDialler, isResuming });
    this.#peer = new PeerCheck(init.native, { isDialled: init.isDialler });
    this.#lengths = new PathLength(init.native, init);
    this.#repeats = new HandshakeRepeats({
      isDialler: init.isDialler,
      isProven: init.isRemoteProven,
    });
    this.#sender = new PacketSender(init.native, host.socket, {
      remote: init.remote,
      lengths: this.#lengths,
      handshake: this.#repeats,
      onDue: () => this.touch(),
    });
    this.isDialler = init.isDialler;
    this.keys = new Set(init.keys);
    this.#spareIds = new SpareIds(init.native, host.resetTokens, {
      add: (key) => host.addKey(this, key),
      delete: (key) => host.deleteKey(this, key),
    });
    this.#receiveInfo = {
      from: toHostPort(init.remote.ip, init.remote.port),
      to: host.local,
    };
    this.#receivedFromIp = init.remote.ip;
    this.#nextStreamId = init.isDialler ? 0 : 1;
    this.#cursor = this.#streams.values();
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.#handshakeTimer = setTimeout(() => {
      // An event loop that was held up looks at its socket before it gives up.
      setImmediate(() => setImmediate(() => this.#onHandshakeTimeout()));
    }, init.handshakeTimeoutMs);
    if (init.isDialler) {
      this.#handshakeProbe = new HandshakeProbe({
        sentCount: () => this.#sender.datagramCount,
        probe: () => {
          this.#repeats.repeat();
          this.touch();
        },
      });
    }
    if (isResuming) {
      this.#phase = "open";
      this.#learnPeer();
    }
  }

  get remoteAddress(): QuicAddress {
    return this.#sender.remote;
  }

  get isOpen(): boolean {
    return this.#phase === "open";
  }

  get isInHandshake(): boolean {
    return this.#handshake.isRunning;
  }

  get isEarly(): boolean {
    return this.#handshake.isEarly;
  }

  get earlyData(): QuicEarlyData {
    return this.#handshake.earlyData;
  }

  get peerCertificates(): readonly Uint8Array[] {
    return this.#peer.certificates;
  }

  /** When the first of them runs out, in milliseconds since 1970. */
  get certificatesExpireAt(): number {
    return this.#peer.expireAt;
  }

  get established(): Promise<void> {
    return this.#handshake.established;
  }

  get ticket(): Uint8Array | undefined {
    const { ticketScope, ticketExpiresAt = Number.POSITIVE_INFINITY } = this.#init;
    const session = ticketScope === undefined ? null : this.native.session();
    if (ticketScope === undefined || session === null) return undefined;
    const ownEnd = this.#establishedAt + TICKET_AGE_MAX_MS;
    const resumedEnd = this.native.isResumed() ? ticketExpiresAt : Number.POSITIVE_INFINITY;
    const expiresAt = Math.min(ownEnd, resumedEnd, this.#peer.expireAt);
    return expiresAt > Date.now() ? toTicket(session, ticketScope, expiresAt) : undefined;
  }

  get closeReason(): QuicCloseReason | undefined {
    return this.#closeReason;
  }

  get onStream(): ((stream: QuicStream) => void) | undefined {
    return this.#onStream;
  }

  set onStream(take: ((stream: QuicStream) => void) | undefined) {
    this.#onStream = take;
    this.touch();
  }

  openStream(): QuicStream {
    const failure = this.failure("Cannot open stream");
    if (failure !== undefined) throw failure;
    const stream = new QuicheStream(this, this.#nextStreamId, true);
    this.#nextStreamId += 4;
    this.#openedStreamCount++;
    this.#streams.set(stream.id, stream);
    return stream;
  }

  retain(): () => void {
    let isHeld = true;
    this.#retainCount++;
    this.#armKeepAlive();
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#retainCount--;
      if (this.#retainCount === 0) this.#disarmKeepAlive();
    };
  }

  close(code: number, reason = ""): void {
    assertInteger("code", code, 0, Number.MAX_SAFE_INTEGER);
    if (typeof reason !== "string") {
      throw new TypeError(
        `Cannot close QUIC connection: the reason is ${typeof reason}, a string is needed`,
      );
    }
    this.#closeNow({ by: "here", isApplication: true, code, text: reason });
  }

  /** Gives up, telling the peer if it can be told; `cause` is what waiting calls throw. */
  cancel(cause: QuicError): void {
    this.#closeCause = cause;
    this.#closeNow({ by: "here", isApplication: false, code: 0, text: "" });
  }

  /** Turns a new peer away: it learns so as soon as it can read anything of ours. */
  refuse(): void {
    this.#flush();
    this.#closeNow({ by: "here", isApplication: false, code: CONNECTION_REFUSED, text: "" });
  }

  /** Closes it if its peer is not to be let in any more. */
  recheckPeer(): void {
    if (this.#phase !== "open") return;
    const refusal = this.#peer.refusal(this.#host.tls, { isRunning: true });
    if (refusal !== undefined) this.#closeNow(refusal);
  }

  /** Forgets the connection without a word. */
  drop(cause: QuicError): void {
    this.#closeCause = cause;
    this.#end({ by: "lost", isApplication: false, code: 0, text: "" });
    this.#remove();
  }

  /** Resolves when finished streams have reached the peer, or cannot any more, or time is up. */
  async flushed(timeoutMs: number): Promise<void> {
    if (this.#lingering.size === 0 || this.#phase !== "open") return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onFlushed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  stats(): QuicConnectionStats {
    const native = this.native.stats();
    const path = this.native.pathStats().find((candidate) => candidate.active);
    return {
      handshakeMs: this.#handshake.durationMs,
      earlyData: this.#handshake.earlyData,
      congestionControl: this.#init.congestionControl,
      rttMs: path?.rtt ?? 0,
      congestionWindowBytes: path?.cwnd ?? 0,
      packetLength: this.#lengths.packetLength,
      sentPacketCount: native.sent,
      receivedPacketCount: native.recv,
      lostPacketCount: native.lost,
      sentBytes: native.sentBytes,
      receivedBytes: native.recvBytes,
      lostBytes: native.lostBytes,
      retransmittedBytes: native.streamRetransBytes,
      streamCount: this.#streams.size,
      openedStreamCount: this.#openedStreamCount,
      abandonedStreamCount: this.#abandonedStreamCount,
    };
  }

  // What the endpoint calls.

  receive(datagram: Uint8Array, ip: string, port: number): void {
    let info = this.#receiveInfo;
    if (info.from.port !== port || this.#receivedFromIp !== ip) {
      info = { from: toHostPort(ip, port), to: this.#host.local };
      this.#receiveInfo = info;
      this.#receivedFromIp = ip;
    }
    let isProving = false;
    if (this.#handshake.isRunning) {
      this.#handshakeLength += datagram.byteLength;
      if (this.#handshakeLength > HANDSHAKE_RECEIVED_MAX) return;
      // What somebody else sends earns the peer nothing that is sent to it.
      const { remote } = this.#sender;
      if (port === remote.port && ip === remote.ip) {
        this.#repeats.onReceived(datagram);
        isProving = !this.#repeats.isProven;
      }
    }
    if (this.#phase === "over") this.#answerOver();
    const firstByte = datagram[0] ?? 0; // changed by decryption
    try {
      let rest = datagram;
      for (
        let end = endOfHandshakePacket(rest);
        end !== undefined;
        end = endOfHandshakePacket(rest)
      ) {
        this.#receivePart(rest.subarray(0, end), info, isProving);
        rest = rest.subarray(end);
      }
      this.#receivePart(rest, info, isProving);
    } catch {
      // The binding has noted why, and its turn sends the close frame and reads the reason.
    }
    if (this.#handshake.isRunning) this.#handshake.afterReceive();
    this.#receiveCount++;
    this.#lengths.onReceived(firstByte);
    this.#looksLeft = this.#streams.size;
    this.#lingersLeft = this.#lingering.size;
    this.#writesLeft = this.writers.size;
    this.touch();
  }

  /**
   * @param part a Handshake packet, or a datagram, or what is left of one, that begins with another
   * @param isProving whether the peer's address is that of the connection, and not proven: a Handshake packet that the
   *   binding takes proves it (RFC 9000, section 8.1)
   */
  #receivePart(part: Uint8Array, info: ReceiveInfo, isProving: boolean): void {
    if (!isProving || !isHandshakePacket(part)) {
      this.native.recv(part, info);
      return;
    }
    const { recv: takenBefore } = this.native.stats();
    this.native.recv(part, info);
    if (this.native.stats().recv > takenBefore) this.#repeats.onProven();
  }

  /**
   * A peer that still sends has not heard the close. It hears it again with the first datagram, the second, the fourth, and so on
   * (RFC 9000, section 10.2.1).
   */
  #answerOver(): void {
    this.#overCount++;
    if ((this.#overCount & (this.#overCount - 1)) === 0) this.#sender.repeatClose();
  }

  /**
   * A short packet from the peer's address with an id that nobody has here: true if it is the peer's word that it
   * knows nothing of this connection.
   */
  isResetBy(datagram: Uint8Array): boolean {
    if (this.#handshake.isRunning || this.native.isClosed()) return false;
    try {
      this.native.recv(datagram, this.#receiveInfo);
    } catch {
      // Junk like any other.
    }
    if (!this.native.isClosed()) return false;
    this.touch();
    return true;
  }

  /** The kernel would not send a datagram of this length: the path, or its first interface, takes none. */
  onTooLong(length: number): void {
    this.#lengths.onTooLong(length, performance.now());
  }

  /** Does what has become possible; true if there is more to do. */
  turn(): boolean {
    if (this.#phase === "removed") return false;
    let hasMore = false;
    if (this.#isTimerDue) {
      this.#isTimerDue = false;
      this.#lengths.onTimeout(performance.now());
      this.native.onTimeout();
    }
    if (this.#handshake.isRunning) this.#advanceHandshake();
    if (this.#phase === "open") {
      if (!this.#handshake.isRunning) {
        this.#spareIds.refresh();
        this.#lengths.look(performance.now());
      }
      for (const stream of this.holding) stream.releaseHeld();
      hasMore = this.#deliver();
      hasMore = this.#resumeWriters() || hasMore;
      hasMore = this.#lookAround() || hasMore;
    }
    const isCut = this.#flush();
    // Only with nothing left to send can an end leave at once.
    if (!isCut && this.ending.size > 0 && this.#sendEnds()) this.#flush();
    if (this.#resets.length > 0 && this.#releaseResets()) this.#flush();
    if (this.#handshake.isRunning) this.#handshake.afterSend();
    this.#checkOver();
    this.#armTimer();
    return hasMore || isCut;
  }

  #sendEnds(): boolean {
    let count = 0;
    for (const stream of this.ending) if (stream.sendEnd()) count++;
    this.#sender.repeatNext(count);
    return count > 0;
  }

  /**
   * A reset waits until the bytes that the binding has of the stream are on their way: with some still unsent quiche
   * 0.18 sends the stream's end after them, as if it ended well where it was cut, and a peer that meets this before
   * the reset takes it for the whole. True if any is to leave now.
   */
  #releaseResets(): boolean {
    const now = performance.now();
    const { sentLength } = this.#sender;
    const waiting = this.#resets.filter(({ id, code, dueAt, dueLength }) => {
      if (now < dueAt && sentLength < dueLength) return true;
      try {
        this.native.streamShutdown(id, 1, code);
      } catch {
        // The binding has let go of the stream already: there is nobody left to tell.
      }
      return false;
    });
    const hasReleased = waiting.length < this.#resets.length;
    this.#resets = waiting;
    if (hasReleased) this.#sender.repeatNext(1);
    if (waiting.length > 0) this.#armResetTimer();
    return hasReleased;
  }

  #armResetTimer(): void {
    this.#resetTimer ??= setTimeout(() => {
      this.#resetTimer = undefined;
      this.touch();
    }, RESET_DELAY_MS + 1);
  }

  // What its streams call.

  get isReadableAfterFailure(): boolean {
    return this.#closeReason?.by !== "here" && this.#closeCause === undefined;
  }

  failure(what: string): QuicError | undefined {
    if (this.#closeReason === undefined) return undefined;
    return this.#closeCause ?? closeError(this.#closeReason, what);
  }

  touch(): void {
    this.#host.touch(this);
  }

  enqueueWriter(stream: QuicheStream): void {
    this.writers.add(stream);
    this.#writesLeft = this.writers.size;
  }

  awaitMore(): void {
    this.#gatherTimer ??= setTimeout(() => {
      this.#gatherTimer = undefined;
      for (const stream of this.readers) stream.resolveRead();
    }, GATHER_MS);
  }

  firstCreditOf(streamId: number): number {
    return this.#firstCredit[this.#isPeers(streamId) ? 1 : 0];
  }

  onAbandoned(): void {
    this.#abandonedStreamCount++;
  }

  sendReset({ id, sentLength }: QuicheStream, code: number): void {
    try {
      this.native.streamPriority(id, 0, false); // what is left of it goes first
    } catch {
      return; // the binding has let go of the stream already: there is nobody left to tell
    }
    const lastDue = this.#resets.at(-1)?.dueLength ?? 0;
    this.#resets.push({
      id,
      code,
      dueAt: performance.now() + RESET_DELAY_MS,
      dueLength: Math.max(lastDue, this.#sender.sentLength) + sentLength * RESET_SHARE,
    });
  }

  repeatNext(): void {
    if (this.#phase === "open") this.#sender.repeatNext(1);
  }

  onDone(stream: QuicheStream, isAbandoned: boolean): void {
    this.#streams.delete(stream.id);
    if (isAbandoned || this.#phase !== "open" || stream.isFlushed) this.#forget(stream);
    else this.#lingering.add(stream);
  }

  // The parts of a turn.

  #advanceHandshake(): void {
    const next = this.#handshake.next;
    if (next === undefined) return;
    this.#learnPeer();
    const refusal = this.#peer.refusal(this.#host.tls, { isRunning: false });
    if (refusal !== undefined) {
      this.#closeNow(refusal);
      return;
    }
    const isFirst = this.#phase === "handshake";
    this.#phase = "open";
    this.#handshake.enter(next);
    if (next === "established") {
      this.#establishedAt = Date.now();
      clearTimeout(this.#handshakeTimer);
      this.#handshakeProbe?.stop();
      this.#sender.onEstablished();
      this.#armKeepAlive();
      this.#host.onEstablished(this);
    }
    if (isFirst) this.#host.onOpen(this);
  }

  #learnPeer(): void {
    this.#peer.learn(this.#host.tls);
    const { peerInitialMaxStreamDataBidiRemote, peerInitialMaxStreamDataBidiLocal } =
      this.native.stats();
    this.#firstCredit = [peerInitialMaxStreamDataBidiRemote, peerInitialMaxStreamDataBidiLocal];
  }

  #deliver(): boolean {
    if (!this.native.isReadable()) return false;
    let budget = READ_LENGTH_PER_TURN;
    if (this.#onStream === undefined && this.readers.size <= POLLED_READERS_MAX) {
      for (const stream of this.readers) {
        budget -= stream.resumeRead();
        if (budget <= 0) return true;
      }
      return false;
    }
    for (const id of this.native.readable()) {
      const stream = this.#streams.get(id);
      if (stream !== undefined) budget -= stream.resumeRead();
      else if (this.#onStream !== undefined && this.#isPeers(id)) this.#take(id, this.#onStream);
      if (budget <= 0) return true;
      if (this.#phase !== "open") return false;
    }
    return false;
  }

  #take(id: number, onStream: (stream: QuicStream) => void): void {
    const { streamCountMax, earlyStreamCountMax } = this.#host.options.limits;
    if (this.isEarly && this.#peerStreamCount >= earlyStreamCountMax) return; // it waits, as its bytes do
    this.#openedStreamCount++;
    if (this.#peerStreamCount >= streamCountMax) {
      this.native.streamShutdown(id, 0, 0);
      this.native.streamShutdown(id, 1, 0);
      this.#refusedStreamCount++;
      this.#abandonedStreamCount++;
      if (this.#refusedStreamCount >= streamCountMax) {
        this.#closeNow({ by: "here", isApplication: false, code: 0x4, text: "too many streams" });
      }
      return;
    }
    this.#peerStreamCount++;
    const stream = new QuicheStream(this, id, false);
    this.#streams.set(id, stream);
    try {
      onStream(stream);
      stream.look(); // the peer may have stopped it in the packet that opened it
    } catch (error) {
      this.#host.options.logger?.warn({ err: error }, "The handler of a new QUIC stream threw");
      stream.stopReading(0);
      stream.reset(0);
    }
  }

  #resumeWriters(): boolean {
    let budget = WRITE_LENGTH_PER_TURN;
    let tries = LOOKS_PER_TURN;
    if (this.#writesLeft === 0) return false;
    // A stream that stays is put behind the others, where this loop meets it again.
    for (const stream of this.writers) {
      const quantum = this.writers.size === 1 ? WRITE_LENGTH_PER_TURN : WRITE_QUANTUM;
      const taken = stream.resumeWrite(quantum);
      budget -= taken;
      if (stream.isWaitingToWrite) {
        this.writers.delete(stream);
        this.writers.add(stream);
        if (taken < quantum) {
          this.#writesLeft--;
          tries--;
          // Its own credit is not used up, so it is the connection that has no room: for nobody.
          if (stream.sentLength < this.firstCreditOf(stream.id)) this.#writesLeft = 0;
        }
      }
      if (this.#writesLeft <= 0) return false;
      if (budget <= 0 || tries <= 0) return true;
    }
    this.#writesLeft = 0;
    return false;
  }

  /** Finds out what no wait would: idle streams that the peer has stopped, finished ones that have arrived. */
  #lookAround(): boolean {
    for (let count = 0; count < LOOKS_PER_TURN && this.#looksLeft > 0; count++) {
      this.#looksLeft--;
      let next = this.#cursor.next();
      if (next.done === true) {
        this.#cursor = this.#streams.values();
        next = this.#cursor.next();
      }
      if (next.done === true) break;
      next.value.look();
    }
    for (let count = 0; count < LOOKS_PER_TURN && this.#lingersLeft > 0; count++) {
      this.#lingersLeft--;
      const [stream] = this.#lingering;
      if (stream === undefined) break;
      this.#lingering.delete(stream);
      if (stream.isFlushed) this.#forget(stream);
      else this.#lingering.add(stream);
    }
    return this.#looksLeft > 0 || this.#lingersLeft > 0;
  }

  #forget(stream: QuicheStream): void {
    if (this.#isPeers(stream.id)) this.#peerStreamCount--;
    if (this.#lingering.size === 0) this.#onFlushed?.();
  }

  #flush(lengthMax?: number): boolean {
    const before = this.#sender.datagramCount;
    try {
      return this.#sender.flush(lengthMax);
    } catch (error) {
      // The binding cannot go on: without this it would stay a zombie until its idle timer.
      this.#host.options.logger?.warn({ err: error }, "A QUIC connection failed while sending");
      this.#end(readCloseReason(this.native));
      this.#remove();
      return false;
    } finally {
      this.#host.countSent(this.#sender.datagramCount - before);
    }
  }

  #checkOver(): void {
    const { native } = this;
    if (this.#closeReason === undefined && (native.isDraining() || native.isClosed())) {
      this.#end(readCloseReason(native));
    }
    if (!native.isClosed()) return;
    const restMs = this.#closingUntil - performance.now();
    if (restMs <= 0) this.#remove();
    else this.#armClosingTimer(restMs);
  }

  #armClosingTimer(restMs: number): void {
    this.#closingTimer ??= setTimeout(() => {
      // Its clock is not quite that of `performance`: when it is early, it has to be set again.
      this.#closingTimer = undefined;
      this.touch();
    }, Math.ceil(restMs));
  }

  #closeNow(reason: QuicCloseReason): void {
    if (this.#closeReason !== undefined) return;
    const text = new TextEncoder().encode(reason.text).subarray(0, REASON_LENGTH_MAX);
    // With a Handshake packet due, as after a timeout before the server has confirmed the handshake, the binding
    // never comes to send an application's close, but acknowledgements without end: so that packet leaves before,
    // and the close right after it, with no timer in between.
    if (reason.isApplication) this.#flush(HANDSHAKE_LENGTH_MAX);
    if (this.#closeReason !== undefined) return;
    const isPeerKnown = !this.#handshake.isRunning;
    this.native.close(reason.isApplication, reason.code, text);
    this.#end(reason);
    this.#sender.onClosing(isPeerKnown);
    if (isPeerKnown) this.#closingUntil = performance.now() + CLOSING_MS_MIN;
    this.#flush();
    this.touch();
  }

  /** The one way into "over": everything that waits hears why. */
  #end(reason: QuicCloseReason): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    this.#phase = "over";
    this.#handshakeProbe?.stop();
    this.#failHandshake(reason);
    this.#disarmKeepAlive();
    this.#sender.stop();
    this.#resets = [];
    clearTimeout(this.#resetTimer);
    for (const stream of this.#streams.values()) stream.fail();
    this.#lingering.clear();
    this.#onFlushed?.();
    this.#host.onEnded(this);
    this.#settleClosed(reason);
  }

  #remove(): void {
    if (this.#phase === "removed") return;
    this.#phase = "removed";
    clearTimeout(this.#handshakeTimer);
    clearTimeout(this.#timer);
    clearTimeout(this.#closingTimer);
    clearTimeout(this.#gatherTimer);
    this.#host.onRemoved(this);
  }

  #onHandshakeTimeout(): void {
    if (this.#handshake.isRunning) {
      this.cancel(
        new QuicError("ERR_DIAL_TIMEOUT", `${this.#whatHandshake}: no finished handshake in time`),
      );
    }
    // A close that was not to be sent by now, to an address that is not proven, never will be: the binding would wait
    // for it up to its idle timeout.
    if (this.#phase !== "over" || this.native.isDraining() || this.native.isClosed()) return;
    this.#remove();
  }

  #failHandshake(reason: QuicCloseReason): void {
    if (!this.#handshake.isRunning) return;
    this.#handshake.fail(this.#closeCause ?? closeError(reason, this.#whatHandshake));
  }

  get #whatHandshake(): string {
    const { ip, port } = this.#sender.remote;
    return `Cannot connect ${this.isDialler ? "to" : "with"} ${ip} port ${port}`;
  }

  #armTimer(): void {
    if (this.#phase === "removed") return;
    const timeout = this.native.timeout();
    if (timeout === null) return;
    const delay = timeout + 1; // the binding rounds down, and a call that comes early does nothing
    const dueAt = performance.now() + delay;
    if (dueAt >= this.#timerDueAt) return;
    clearTimeout(this.#timer);
    this.#timerDueAt = dueAt;
    this.#timer = setTimeout(() => {
      // The turn comes after a look at the socket: what waits there may make the timeout void.
      this.#timerDueAt = Number.POSITIVE_INFINITY;
      this.#isTimerDue = true;
      this.touch();
    }, delay);
  }

  #armKeepAlive(): void {
    if (!this.isDialler || this.#phase !== "open" || this.isEarly) return;
    if (this.#retainCount === 0) return;
    const { idleTimeoutMs, deadAfterMs } = this.#host.options;
    const peers = this.native.stats().peerMaxIdleTimeout;
    this.#keepAlive ??= new KeepAlive({
      // Before either idle timer runs out.
      patienceMs: Math.min(idleTimeoutMs, deadAfterMs, peers > 0 ? peers : idleTimeoutMs),
      countReceived: () => this.#receiveCount,
      ping: () => {
        this.native.sendAckEliciting();
        this.touch();
      },
      onSilence: () => {
        // Nobody is there to say goodbye to, but it costs only a packet.
        this.native.close(false, 0, new Uint8Array(0));
        this.#end({ by: "idle-timeout", isApplication: false, code: 0, text: "" });
        this.touch();
      },
    });
  }

  #disarmKeepAlive(): void {
    this.#keepAlive?.stop();
    this.#keepAlive = undefined;
  }

  #isPeers(id: number): boolean {
    return (id & 1) !== (this.isDialler ? 0 : 1);
  }
}
