import type { Protocol } from "@damselfly/transport";
import { firstEntrants, inOrder, TRIAL_HEAD_START_MS } from "./entrants.ts";
import { formatRate } from "./format-rate.ts";
import { LeastRtt } from "./least-rtt.ts";
import { ProtocolRecord, type Sample } from "./protocol-record.ts";
import type { Entrant } from "./race.ts";

/** On a LAN segmentation in the kernel makes TCP the cheapest; QUIC comes before gRPC because it can go far. */
const NEAR_ORDER: readonly Protocol[] = ["tcp", "quic", "grpc"];
/** Over delay, and the losses that come with it, TCP with cubic collapses, and QUIC with BBR does not. */
const FAR_ORDER: readonly Protocol[] = ["quic", "tcp", "grpc"];
/** From this round trip on a path counts as far, in milliseconds: TCP with cubic bears a loss or two below. */
export const FAR_RTT_MS = 8;
/** Round trips from a dial to the announcement: TCP's and TLS 1.3's handshake, or QUIC's, and the request. */
const ROUND_TRIPS_OF_FIRST: Readonly<Record<Protocol, number>> = { tcp: 3, quic: 2, grpc: 4 };
/** What certificates and keys take of that on two busy machines, in milliseconds. */
const HANDSHAKE_WORK_MS = 40;

/** One that has worked and does not announce within this time may be dead; so may be the parent's disk. */
const PROVEN_HEAD_START_MS = 1_000;
/** What an operator asked for by name is waited for until it has failed. */
const NAMED_HEAD_START_MS = 2_000;
/** At the first contact TCP's answer, if it was no LAN's, waits so long for QUIC's, which then is the better one. */
const FIRST_PATIENCE_MS = 100;

/** One must be better than what is used by this much to take its place. */
const GAIN_MIN = 1.25;
/** Less than this share of what it gave before: the path, or the parent, is not what it was. */
const SLOWED_SHARE = 0.4;
/** Samples that say how good a protocol is. */
const SETTLED_COUNT = 3;
/** Less than this share of the other's goodput needs no second look soon. */
const HOPELESS_SHARE = 1 / 3;
/** Between two trials, in pieces: while they tell something new, and when nothing is new. */
const TRIAL_PIECES = 8;
const ROUTINE_TRIAL_PIECES = 512;
const ROUTINE_TRIAL_PIECES_MAX = 8_192;
/** The same where one of two was never tried, and the other does well: over 50 ms and 1 % loss a trial of TCP costs 4 % of 128 MiB. */
const UNTRIED_PIECES = 64;

export type DecisionReason = "first" | "faster" | "far" | "near" | "unreachable";

/** Another protocol is the one for a parent. */
export interface Decision {
  readonly hostId: string;
  readonly protocol: Protocol;
  readonly reason: DecisionReason;
  /** For people: `quic, 38 MB/s; tcp gave 2 MB/s`. */
  readonly words: string;
}

/** How to ask for one piece. */
export interface Plan {
  /** At least one. */
  readonly entrants: readonly Entrant<Protocol>[];
  /** Nothing is known: others wait a moment for what comes of this one. */
  readonly isFirstContact: boolean;
  /** It is to find out how the first entrant does. */
  readonly isTrial: boolean;
  /** How long TCP's answer waits for that of another that was asked before it came; default not at all. Milliseconds. */
  readonly tcpPatienceMs?: number;
}

export interface ParentRecordInit {
  readonly hostId: string;
  /** In order of preference, where an operator has named one; undefined: what measurement says. */
  readonly named: readonly Protocol[] | undefined;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onDecision: (decision: Decision) => void;
}

/** What is known of one parent, and which protocol that makes the best. Asks nobody anything. */
export class ParentRecord {
  readonly #init: ParentRecordInit;
  readonly #protocols = new Map<Protocol, ProtocolRecord>();
  #offered: readonly Protocol[] = [];
  #address = "";
  #favourite: Protocol | undefined;
  /** The reason for it, in words. */
  #why = "";
  readonly #rtt: LeastRtt;
  /** What the very first answer makes of it, in milliseconds: it has a handshake in it. */
  #guessedRttMs: number | undefined;
  /** Pieces planned; those planned when the last trial began. */
  #pieceCount = 0;
  #trialAt = 0;
  #isTrialRunning = false;
  #routinePieces = ROUTINE_TRIAL_PIECES;

  constructor(init: ParentRecordInit) {
    this.#init = init;
    this.#rtt = new LeastRtt(init.now);
  }

  get favourite(): Protocol | undefined {
    return this.#favourite;
  }

  get why(): string {
    return this.#why;
  }

  /** The least seen of late, in milliseconds; undefined: not known. */
  get rttMs(): number | undefined {
    return this.#rtt.ms ?? this.#guessedRttMs;
  }

  get protocols(): readonly ProtocolRecord[] {
    return [...this.#protocols.values()];
  }

  get isFar(): boolean {
    return (this.rttMs ?? 0) > FAR_RTT_MS;
  }

  /** Something of what it offers is known to work. */
  get isAcquainted(): boolean {
    return this.protocols.some(({ isProven }) => isProven);
  }

  /** To be told before each plan what the parent offers; `address`: anything that changes with where it is. */
  meet(offered: readonly Protocol[], address: string): void {
    this.#offered = offered;
    if (address === this.#address) return;
    if (this.#address !== "") for (const each of this.protocols) each.forgive();
    this.#address = address;
  }

  of(protocol: Protocol): ProtocolRecord {
    let record = this.#protocols.get(protocol);
    if (record === undefined) {
      record = new ProtocolRecord(protocol, this.#init);
      this.#protocols.set(protocol, record);
    }
    return record;
  }

  /**
   * Which protocols to ask for the next piece, in what order. Whoever gets a trial says when it is over (`trialEnded`).
   *
   * @param options.isSlow nothing is known, and nobody has answered at once: it is no LAN, or something is in the way
   * @param options.mayTry whether a piece that is late would not matter; default true
   */
  plan({
    isSlow = false,
    mayTry = true,
  }: { readonly isSlow?: boolean; readonly mayTry?: boolean } = {}): Plan {
    this.#pieceCount += 1;
    const open = this.#open();
    const { named } = this.#init;
    const proven = open.filter((protocol) => this.of(protocol).isProven);
    if (named !== undefined) {
      const entrants = open.map((name, index) => ({
        name,
        afterMs: index === 0 ? 0 : NAMED_HEAD_START_MS,
      }));
      return { entrants, isFirstContact: false, isTrial: false };
    }
    if (proven.length === 0) {
      const order = isSlow ? inOrder(open, FAR_ORDER) : open;
      const contact = { isFirstContact: !isSlow, isTrial: false };
      const entrants = firstEntrants(order, isSlow);
      return { entrants, ...contact, tcpPatienceMs: FIRST_PATIENCE_MS };
    }
    this.#decide("first");
    const favourite = this.#favourite ?? proven[0]!;
    const trial = mayTry && !this.#isTrialRunning ? this.#trialOf(favourite, open) : undefined;
    const rest = open.filter((protocol) => protocol !== favourite && protocol !== trial);
    const after = (afterMs: number) => (name: Protocol) => ({ name, afterMs });
    if (trial === undefined) {
      const entrants = [after(0)(favourite), ...rest.map(after(PROVEN_HEAD_START_MS))];
      return { entrants, isFirstContact: false, isTrial: false };
    }
    this.#isTrialRunning = true;
    this.#trialAt = this.#pieceCount;
    const entrants = [
      after(0)(trial),
      after(TRIAL_HEAD_START_MS)(favourite),
      ...rest.map(after(PROVEN_HEAD_START_MS)),
    ];
    return { entrants, isFirstContact: false, isTrial: true };
  }

  /** What was tried has shown itself, or could not. */
  trialEnded(): void {
    this.#isTrialRunning = false;
  }

  /** A request was answered by an announcement; `ms` after it was put. */
  announced(protocol: Protocol, ms: number): void {
    const record = this.of(protocol);
    const isFirst = !this.isAcquainted;
    if (record.isProven) this.noteRtt(ms);
    else if (isFirst)
      this.#guessedRttMs = Math.max(0, ms - HANDSHAKE_WORK_MS) / ROUND_TRIPS_OF_FIRST[protocol];
    record.announced();
    this.#decide("first", isFirst ? `it answered first, after ${Math.round(ms)} ms` : undefined);
  }

  /** A round trip to the parent took so long, or less. Milliseconds. */
  noteRtt(ms: number): void {
    this.#rtt.note(ms);
  }

  /** It did not get through. Returns for how long it is left out, in milliseconds; 0: it was left out already. */
  failed(protocol: Protocol, why: string): number {
    const record = this.of(protocol);
    const isNews = !record.isDetoured;
    const detourMs = record.failed(why);
    this.#decide("unreachable", `${protocol} does not get through`);
    return isNews ? detourMs : 0;
  }

  measured(protocol: Protocol, sample: Sample): void {
    this.of(protocol).measured(sample);
    const before = this.#favourite;
    this.#decide("faster");
    // Looked at, and left: the next look may come later.
    if (this.#favourite !== before) this.#routinePieces = ROUTINE_TRIAL_PIECES;
    else if (protocol !== before)
      this.#routinePieces = Math.min(2 * this.#routinePieces, ROUTINE_TRIAL_PIECES_MAX);
  }

  /** Protocols to ask, the best by what is known beforehand first; what is left out only when nothing else is there. */
  #open(): Protocol[] {
    const order = this.#init.named ?? (this.isFar ? FAR_ORDER : NEAR_ORDER);
    const offered = inOrder(this.#offered, order);
    const open = offered.filter((protocol) => !this.of(protocol).isDetoured);
    return open.length > 0 ? open : offered;
  }

  /** Which one to look at with the next piece; undefined: none. */
  #trialOf(favourite: Protocol, open: readonly Protocol[]): Protocol | undefined {
    const [first] = open;
    // gRPC goes over the same TCP and costs more.
    const others = open.filter(
      (each) => each !== favourite && !(each === "grpc" && open.includes("tcp")),
    );
    const other = others[0];
    if (other === undefined) return undefined;
    const ours = this.of(favourite);
    const theirs = this.of(other);
    const since = this.#pieceCount - this.#trialAt;
    if (first === other && theirs.goodput === undefined) return other;
    if (since >= this.#routinePieces) return other;
    if (ours.goodput === undefined || since < TRIAL_PIECES) return undefined;
    if (ours.goodput < SLOWED_SHARE * ours.best) return other;
    if (!this.isFar) return undefined;
    if (theirs.goodput === undefined) return since >= UNTRIED_PIECES ? other : undefined;
    const isOpen =
      theirs.sampleCount < SETTLED_COUNT && theirs.goodput > HOPELESS_SHARE * ours.goodput;
    return isOpen ? other : undefined;
  }

  /** Looks again which protocol is the one, and says so when that is another than before. */
  #decide(occasion: DecisionReason, words?: string): void {
    if (this.#init.named !== undefined) return;
    const proven = this.#open().filter((protocol) => this.of(protocol).isProven);
    const [byPath] = proven;
    const before = this.#favourite;
    if (byPath === undefined) {
      this.#favourite = undefined;
      return;
    }
    let best = byPath;
    for (const other of proven) if (this.#isBetter(other, best)) best = other;
    if (before !== undefined && before !== best && proven.includes(before)) {
      const areMeasured = [before, best].every((each) => this.of(each).goodput !== undefined);
      if (areMeasured && !this.#isBetter(best, before)) best = before;
    }
    if (best === before) return;
    this.#favourite = best;
    const reason = this.#reasonFor({ best, before, occasion, isByPath: best === byPath });
    this.#why = words ?? this.#wordsFor(best, before, reason);
    const { hostId, onDecision } = this.#init;
    onDecision({ hostId, protocol: best, reason, words: `${best}, ${this.#why}` });
  }

  #isBetter(one: Protocol, other: Protocol): boolean {
    const [rate, rateOfOther] = [this.of(one).goodput, this.of(other).goodput];
    return rate !== undefined && rateOfOther !== undefined && rate > GAIN_MIN * rateOfOther;
  }

  #reasonFor(change: {
    readonly best: Protocol;
    readonly before: Protocol | undefined;
    readonly occasion: DecisionReason;
    readonly isByPath: boolean;
  }): DecisionReason {
    const { best, before, occasion, isByPath } = change;
    if (before === undefined || occasion === "unreachable") return occasion;
    if (this.#isBetter(best, before)) return "faster";
    return isByPath && this.isFar ? "far" : "near";
  }

  #wordsFor(best: Protocol, before: Protocol | undefined, reason: DecisionReason): string {
    if (reason === "far") return `the path is long: ${formatMs(this.rttMs ?? 0)} there and back`;
    if (reason === "near") return `the path is short: ${formatMs(this.rttMs ?? 0)} there and back`;
    const rate = this.of(best).goodput;
    const own = rate === undefined ? "it gets through" : formatRate(rate);
    const former = before === undefined ? undefined : this.of(before).goodput;
    return former === undefined ? own : `${own}; ${before} gave ${formatRate(former)}`;
  }
}

function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
