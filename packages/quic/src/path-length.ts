import type { NativeConnection } from "./binding.ts";
import { BlackHoleDetector } from "./black-hole-detector.ts";
import { PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import type { LengthPlan } from "./length-plan.ts";
import {
  decodeLengthMessage,
  encodeAnswer,
  encodeProbe,
  PROBE_OVERHEAD_MAX,
  PROBE_OVERHEAD_MIN,
} from "./length-probe.ts";
import { LengthSearch } from "./length-search.ts";

/** An answer may take this long beyond three round trips: the peer's event loop can be held up. */
const ANSWER_PATIENCE_MS = 500;
/** DATAGRAM frames kept for us, and the most looked at a turn; a peer that sends more loses them. */
export const DATAGRAM_COUNT_MAX = 4;

/** The longest frame content there is; what is copied here is looked at at once. */
const CONTENT = new Uint8Array(65_536);

/** What is asked of a connection for it. */
export type LengthCarrier = Pick<
  NativeConnection,
  | "dgramMaxWritableLen"
  | "dgramRecv"
  | "dgramRecvQueueLen"
  | "dgramSend"
  | "dgramSendQueueByteSize"
  | "pathStats"
  | "stats"
>;

/**
 * How long one connection's packets are: as long as its path takes. Longer ones are tried with DATAGRAM frames of no
 * use but their length, which the peer's engine answers; each side does so for what it sends itself.
 */
export class PathLength {
  readonly #native: LengthCarrier;
  readonly #plan: LengthPlan;
  readonly #isDialler: boolean;
  readonly #search: LengthSearch;
  readonly #detector = new BlackHoleDetector();
  #hasReceivedShort = false;
  #isOpen = false;
  /** Whether the peer takes DATAGRAM frames. */
  #isAnswered = false;
  /** The last probe; `length` is that of its frame's content. */
  #probe = { id: 0, length: 0 };
  #isProbeWaiting = false;

  constructor(
    native: LengthCarrier,
    { lengths, isDialler }: { readonly lengths: LengthPlan; readonly isDialler: boolean },
  ) {
    this.#native = native;
    this.#plan = lengths;
    this.#isDialler = isDialler;
    this.#search = new LengthSearch(lengths);
  }

  /** Of the longest packet to send. A handshake's are of QUIC's minimum, whatever else is in them. */
  get packetLength(): number {
    return this.#isOpen ? this.#search.length : PACKET_LENGTH_MIN;
  }

  /** Of the one longer packet to send, as a probe waits in the binding; 0: there is none. */
  get probeLength(): number {
    return this.#isProbeWaiting ? this.#probe.length + PROBE_OVERHEAD_MAX : 0;
  }

  /** Called before every turn of an established connection; `now` in milliseconds. */
  look(now: number): void {
    if (!this.#isOpen) {
      // The dialling side has to wait for a sign that the other one has all of the handshake.
      if (this.#isDialler && !this.#hasReceivedShort) return;
      this.#isOpen = true;
      this.#isAnswered = this.#native.dgramMaxWritableLen() !== null;
    }
    this.#readDatagrams();
    this.#watchLosses(now);
    this.#tryLonger(now);
  }

  onReceived(firstByte: number): void {
    this.#hasReceivedShort ||= (firstByte & 0x80) === 0;
    this.#detector.onReceived();
  }

  /** A packet is on its way. */
  onSent(length: number): void {
    if (length > PACKET_LENGTH_MIN) this.#detector.onLongSent(length);
  }

  /** The waiting probe had its chance to leave, which it did unless the congestion window was in its way. */
  onProbeTurn(now: number): void {
    if (this.#native.dgramSendQueueByteSize() >= this.#probe.length) return;
    this.#isProbeWaiting = false;
    this.#search.onProbeSent(now + 3 * this.#rttMs() + ANSWER_PATIENCE_MS);
  }

  /** The connection's timer has run out. */
  onTimeout(now: number): void {
    if (!this.#plan.isLocal && this.#detector.onTimeout(now)) this.#shrink(now);
  }

  /** The kernel would not send a datagram of this length. */
  onTooLong(length: number, now: number): void {
    this.#search.onTooLong(length, now);
  }

  #readDatagrams(): void {
    if (this.#native.dgramRecvQueueLen() === 0) return;
    for (let count = 0; count < DATAGRAM_COUNT_MAX; count++) {
      const length = this.#native.dgramRecv(CONTENT);
      if (length === null) return;
      const message = decodeLengthMessage(CONTENT.subarray(0, length));
      if (message?.kind === "probe" && this.#isAnswered) {
        this.#queue(encodeAnswer(message));
      } else if (
        message?.kind === "answer" &&
        message.id === this.#probe.id &&
        message.length === this.#probe.length
      ) {
        this.#search.onProven(message.length + PROBE_OVERHEAD_MIN);
      }
    }
  }

  #watchLosses(now: number): void {
    if (this.#plan.isLocal || !this.#detector.isWindowOver(now, this.packetLength)) return;
    const { lostBytes } = this.#native.stats();
    if (this.#detector.onWindow(now, { lostBytes, rttMs: this.#rttMs() })) this.#shrink(now);
  }

  #shrink(now: number): void {
    this.#search.onTooLong(this.#search.length, now);
    this.#detector.reset(now, this.#native.stats().lostBytes);
  }

  #rttMs(): number {
    return this.#native.pathStats().find(({ active }) => active)?.rtt ?? 0;
  }

  #tryLonger(now: number): void {
    if (this.#isProbeWaiting || !this.#isAnswered) return;
    const packetLength = this.#search.probeLength(now);
    if (packetLength === 0) return;
    const id = (this.#probe.id + 1) % 2 ** 32;
    this.#probe = { id, length: packetLength - PROBE_OVERHEAD_MAX };
    // The queue has room for more than the answers of one turn and a probe; else it is for the next turn.
    const fate = this.#queue(encodeProbe(id, this.#probe.length));
    if (fate === "queued") this.#isProbeWaiting = true;
    else if (fate === "too-long") this.#search.onTooLong(packetLength, now);
  }

  /** What becomes of a frame. The peer has said in the handshake how long a packet, and a frame, it takes: any length at all. */
  #queue(content: Uint8Array): "queued" | "full" | "too-long" {
    try {
      return this.#native.dgramSend(content) === null ? "full" : "queued";
    } catch {
      return "too-long";
    }
  }
}
