import { jitter } from "../jitter.ts";
import { steadyNow } from "../steady-now.ts";

/** Hosts remembered; one more forgets the one that was asked for the longest ago. */
const HOST_COUNT_MAX = 10_000;
/** After a failure a host is left alone for so long, twice as long after the next one, and so on. Milliseconds. */
const REST_MS = 1_000;
const REST_MS_MAX = 60_000;
/** A host that sent wrong bytes, or that nobody trusts. Milliseconds. */
const BAN_MS = 60_000;
/** A failure, and a measurement, are forgotten after so long. Milliseconds. */
const FORGIVEN_MS = 300_000;
/** Weight of the newest measurement. */
const GOODPUT_WEIGHT = 0.3;

/** What costs whoever asks time: nobody is there, nothing comes, or what comes breaks off again and again. */
export type HostFailure = "unreachable" | "silent" | "broken";

/** What all downloads of this daemon together know of one host that others are sent to. */
export class ParentHost {
  readonly #now: () => number;
  readonly #random: () => number;
  #goodput: number | undefined;
  #measuredMs = -Infinity;
  #failure: HostFailure | undefined;
  #failuresInARow = 0;
  #failedMs = -Infinity;
  #restsUntilMs = -Infinity;
  #bannedUntilMs = -Infinity;
  #probeCount = 0;

  constructor(options: { readonly now: () => number; readonly random: () => number }) {
    this.#now = options.now;
    this.#random = options.random;
  }

  /** What it gives one download, all pieces in flight together, in bytes a millisecond; undefined: nobody has measured it. */
  get goodput(): number | undefined {
    return this.#now() - this.#measuredMs < FORGIVEN_MS ? this.#goodput : undefined;
  }

  /** It has failed somebody, and brought nobody anything since. */
  get isSuspect(): boolean {
    return this.#failuresInARow > 0 && this.#now() - this.#failedMs < FORGIVEN_MS;
  }

  /** It has sent wrong bytes, or is not who it says: nobody is to use it. */
  get isBanned(): boolean {
    return this.#bannedUntilMs > this.#now();
  }

  /** Until when nothing is asked of it, on the clock that was given; in the past: it may be asked. */
  get restsUntilMs(): number {
    return Math.max(this.#restsUntilMs, this.#bannedUntilMs);
  }

  /** Whether it may be asked for a piece. Of a suspect only one piece at a time is asked, by all downloads together. */
  get mayBeAsked(): boolean {
    if (this.restsUntilMs > this.#now()) return false;
    return !this.isSuspect || this.#probeCount === 0;
  }

  /** A piece is asked of it. Call what is returned when that is over. */
  asked(): () => void {
    if (!this.isSuspect) return () => {};
    this.#probeCount += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#probeCount -= 1;
    };
  }

  /** Failures of one moment count once. */
  failed(failure: HostFailure): void {
    const now = this.#now();
    if (now < this.#restsUntilMs) return;
    if (now - this.#failedMs >= FORGIVEN_MS) this.#failuresInARow = 0;
    this.#failure = failure;
    this.#failuresInARow += 1;
    this.#failedMs = now;
    const restMs = Math.min(REST_MS * 2 ** (this.#failuresInARow - 1), REST_MS_MAX);
    this.#restsUntilMs = now + jitter(restMs, this.#random);
  }

  /** It has answered to the question what it has. Where nobody was there before, somebody may be again. */
  answered(): void {
    if (this.#failure === "unreachable") this.#restsUntilMs = -Infinity;
  }

  /** What is wrong with it is wrong in every download. */
  ban(): void {
    this.#bannedUntilMs = this.#now() + BAN_MS;
  }

  /** It brought a piece. @param rate of all pieces in flight together, in bytes a millisecond */
  brought(rate: number): void {
    this.#failuresInARow = 0;
    this.#restsUntilMs = -Infinity;
    this.measured(rate);
  }

  /** It brought bytes, at this rate. */
  measured(rate: number): void {
    const before = this.goodput ?? rate;
    this.#measuredMs = this.#now();
    this.#goodput = before + GOODPUT_WEIGHT * (rate - before);
  }
}

/** The memory that all downloads of a daemon share: what one has suffered from a host, the others need not suffer again. */
export class ParentHosts {
  readonly #options: { readonly now: () => number; readonly random: () => number };
  readonly #hosts = new Map<string, ParentHost>();

  constructor(options: { readonly now?: () => number; readonly random?: () => number } = {}) {
    const { now = steadyNow, random = Math.random } = options;
    this.#options = { now, random };
  }

  of(hostId: string): ParentHost {
    const host = this.#hosts.get(hostId) ?? new ParentHost(this.#options);
    this.#hosts.delete(hostId); // last again
    this.#hosts.set(hostId, host);
    const [oldest] = this.#hosts.keys();
    if (this.#hosts.size > HOST_COUNT_MAX && oldest !== undefined) this.#hosts.delete(oldest);
    return host;
  }
}
