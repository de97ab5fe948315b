import type { QuicCloseReason, QuicCongestionControl } from "@damselfly/quic";
import { ConnectionCode } from "./codes.ts";
import type { Dialled, DialWish, Target } from "./dialler.ts";
import { GrowthPolicy } from "./growth-policy.ts";
import type { PathMemory } from "./path-memory.ts";
import { type Lease, PooledConnection } from "./pooled-connection.ts";

/** A period of the growth policy lasts this many round trips, but not less than `PERIOD_MIN_MS`. */
const PERIOD_ROUND_TRIPS = 4;
const PERIOD_MIN_MS = 200;

/** What parents are asked to send by: one for all, `auto` by path, or nothing where the backend has no such wish. */
export type WishSetting = QuicCongestionControl | "auto" | "none";

export interface ConnectionGroupInit {
  /** Under this the path is remembered. */
  readonly key: string;
  readonly target: Target;
  readonly memory: PathMemory;
  readonly wish: WishSetting;
  readonly dial: (how: DialWish) => Promise<Dialled>;
  readonly onUse: (connection: PooledConnection) => void;
  readonly onRetired: (connection: PooledConnection) => void;
  /** The parent has closed a connection to have it dialled for another congestion control. */
  readonly onRedial: () => void;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
}

/**
 * The connections to one parent port. There are as many as pay, and requests go where the least is outstanding.
 * Connections that were dialled for another kind of path than it turned out to be are replaced.
 */
export class ConnectionGroup {
  readonly #init: ConnectionGroupInit;
  readonly #members = new Set<PooledConnection>();
  readonly #policy: GrowthPolicy;
  #period: { readonly timer: NodeJS.Timeout; readonly startedAt: number } | undefined;
  /** Received by members up to the start of the period. */
  readonly #receivedBefore = new WeakMap<PooledConnection, number>();

  constructor(init: ConnectionGroupInit) {
    this.#init = init;
    init.memory.meet(init.key, init.target.ip);
    this.#policy = new GrowthPolicy(init.memory.widthOf(init.key));
  }

  get target(): Target {
    return this.#init.target;
  }

  get isHard(): boolean | undefined {
    return this.#init.memory.isHard(this.#init.key);
  }

  get size(): number {
    return this.#members.size;
  }

  /** Whether one of them has its handshake done. */
  get isConnected(): boolean {
    return [...this.#members].some(
      (member) => isAtHand(member) && member.connection?.isEarly === false,
    );
  }

  /** Requests that are worth running at once, at least. */
  get width(): number {
    return this.#policy.width;
  }

  /**
   * @param length bytes to be asked for
   * @throws what the dial throws
   */
  async lease(length: number): Promise<Lease> {
    const wish = this.#wish;
    const usable = [...this.#members].filter((member) => member.isUsable);
    const fitting = usable.filter((member) => member.wish === wish);
    const isBusy = fitting.every((member) => member.activeCount > 0);
    if (fitting.length === 0 || (isBusy && fitting.length < this.#policy.width)) {
      const member = this.#dial(wish);
      usable.push(member);
      fitting.push(member);
    }
    this.#retireSurplus(usable, fitting);
    return this.#lightest(usable, fitting).lease(length);
  }

  /** Of those at hand, rather of the right kind; where there is none, of those that are being dialled. */
  #lightest(
    usable: readonly PooledConnection[],
    fitting: readonly PooledConnection[],
  ): PooledConnection {
    const choices = [fitting.filter(isAtHand), usable.filter(isAtHand), fitting];
    const best = choices.find((choice) => choice.length > 0) ?? fitting;
    return best.reduce((one, other) => (isLighter(other, one) ? other : one));
  }

  get #wish(): QuicCongestionControl | undefined {
    const { wish, memory, key } = this.#init;
    if (wish === "none") return undefined;
    return wish === "auto" ? memory.wishFor(key) : wish;
  }

  #dial(wish: QuicCongestionControl | undefined): PooledConnection {
    const { key, memory } = this.#init;
    const dialling = this.#init.dial({ congestionControl: wish, ticket: memory.ticketOf(key) });
    const member = new PooledConnection({
      dialling,
      wish,
      onUse: (used) => {
        if (used.activeCount > 0) this.#watch();
        this.#init.onUse(used);
      },
      // Its use may have been too short for a look meanwhile.
      onIdle: (idle) => this.#keepTicket(idle),
      onRetired: (retired) => {
        this.#members.delete(retired);
        this.#init.onRetired(retired);
      },
    });
    this.#members.add(member);
    this.#learnFrom(dialling).catch(() => memory.noteTicket(key, undefined)); // who has asked hears why
    return member;
  }

  async #learnFrom(dialling: Promise<Dialled>): Promise<void> {
    const { key, memory } = this.#init;
    const { connection } = await dialling;
    void connection.closed.then((reason) => this.#onClosed(reason));
    await connection.established;
    const { handshakeMs, rttMs } = connection.stats();
    memory.noteRtt(key, Math.min(handshakeMs, rttMs));
    this.#policy.learn(memory.isHard(key) ?? false);
    this.#grow();
  }

  /** Dials what running requests could use already, so that it is there for the next ones. */
  #grow(): void {
    const members = [...this.#members].filter(
      ({ isUsable, wish }) => isUsable && wish === this.#wish,
    );
    const requestCount = members.reduce((sum, { activeCount }) => sum + activeCount, 0);
    const wanted = Math.min(this.#policy.width, requestCount);
    for (let count = members.length; count < wanted; count++) this.#dial(this.#wish);
  }

  #keepTicket({ connection }: PooledConnection): void {
    if (connection === undefined || connection.isEarly || !connection.isOpen) return;
    const { key, memory } = this.#init;
    memory.noteTicket(key, connection.ticket ?? memory.ticketOf(key));
  }

  #onClosed({ by, isApplication, code }: QuicCloseReason): void {
    if (by !== "peer" || !isApplication || code !== ConnectionCode.Redial) return;
    this.#init.memory.noteLoss(this.#init.key);
    this.#init.onRedial();
  }

  /** Nothing new goes to connections beyond the width, or of the wrong kind once there is one of the right kind. */
  #retireSurplus(usable: readonly PooledConnection[], fitting: readonly PooledConnection[]): void {
    if (!fitting.some(isAtHand)) return;
    for (const member of usable) if (!fitting.includes(member)) member.retire();
    for (const member of fitting.slice(this.#policy.width)) member.retire();
  }

  /** Looks at what the connections bring as long as they are used. */
  #watch(): void {
    if (this.#period !== undefined) return;
    let rttMs = 0;
    for (const member of this.#members) {
      const stats = member.connection?.stats();
      if (stats === undefined) continue;
      this.#receivedBefore.set(member, stats.receivedBytes);
      if (member.connection?.isEarly === false) rttMs = Math.max(rttMs, stats.rttMs);
    }
    const periodMs = Math.max(PERIOD_MIN_MS, PERIOD_ROUND_TRIPS * rttMs);
    const timer = setTimeout(() => this.#endPeriod(), periodMs);
    timer.unref();
    this.#period = { timer, startedAt: this.#init.now() };
  }

  #endPeriod(): void {
    const { key, memory, now } = this.#init;
    const seconds = (now() - (this.#period?.startedAt ?? 0)) / 1000;
    this.#period = undefined;
    let receivedBytes = 0;
    let requestCount = 0;
    let connectionCount = 0;
    for (const member of this.#members) {
      requestCount += member.activeCount;
      if (member.activeCount > 0) connectionCount++;
      const { connection } = member;
      if (connection === undefined || connection.isEarly || !connection.isOpen) continue;
      const stats = connection.stats();
      memory.noteRtt(key, stats.rttMs);
      this.#keepTicket(member);
      receivedBytes += stats.receivedBytes - (this.#receivedBefore.get(member) ?? 0);
    }
    if (requestCount === 0) return;
    const bytesPerSecond = receivedBytes / seconds;
    const isHard = memory.isHard(key) ?? false;
    this.#policy.observe({ bytesPerSecond, requestCount, connectionCount, isHard });
    memory.noteWidth(key, this.#policy.width);
    this.#grow();
    this.#watch();
  }

  /** Lets no further request use what is there. */
  retireAll(): void {
    for (const member of this.#members) member.retire();
  }

  /** No more periods; connections are the pool's to close. */
  close(): void {
    clearTimeout(this.#period?.timer);
  }
}

function isAtHand(member: PooledConnection): boolean {
  return member.connection !== undefined && member.isUsable;
}

function isLighter(one: PooledConnection, other: PooledConnection): boolean {
  if (one.outstandingLength !== other.outstandingLength) {
    return one.outstandingLength < other.outstandingLength;
  }
  return one.activeCount < other.activeCount;
}
