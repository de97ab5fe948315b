import { AddressCounts, IdleQueue, TokenBucket } from "@damselfly/limits";
import { constants, type Http2Session } from "node:http2";
import type { RpcLimits } from "./rpc-limits.ts";

/** A connection too many that makes no call, or does not go when it is told to, is cut off after this. Milliseconds. */
const FAREWELL_MS = 2_000;

/** After a pause so many seconds' worth of calls may begin at once. */
const CALL_BURST_SECONDS = 4;

interface SessionState {
  readonly ip: string;
  readonly rate: TokenBucket;
  readonly isRefused: boolean;
  callCount: number;
}

/** Connections whose handshake is over, and the calls that begin on them. */
export class SessionLimits {
  readonly #limits: RpcLimits;
  readonly #now: () => number;
  readonly #counts: AddressCounts;
  readonly #states = new Map<Http2Session, SessionState>();
  /** Without a call. */
  readonly #idle = new IdleQueue<Http2Session>();

  constructor(options: {
    readonly limits: RpcLimits;
    /** Milliseconds of a clock that does not run backwards. */
    readonly now: () => number;
  }) {
    this.#limits = options.limits;
    this.#now = options.now;
    const { connectionCountMax: countMax, connectionsPerAddressMax: perAddressMax } =
      options.limits;
    this.#counts = new AddressCounts({ countMax, perAddressMax });
  }

  /** A new connection. One too many costs another its place, or is only there to be told so. */
  add(session: Http2Session, ip: string): void {
    const excess = this.#counts.excess(ip);
    const victim =
      excess === undefined ? undefined : this.#idle.oldest(excess === "all" ? undefined : ip);
    if (victim !== undefined) this.#dismiss(victim);
    const isRefused = excess !== undefined && victim === undefined;
    const release = this.#counts.add(ip);
    const { callsPerSecondMax } = this.#limits;
    const rate = new TokenBucket(
      { perSecond: callsPerSecondMax, burst: CALL_BURST_SECONDS * callsPerSecondMax },
      this.#now(),
    );
    this.#states.set(session, { ip, rate, isRefused, callCount: 0 });
    // One that is refused has no place that another could have.
    if (!isRefused) this.#idle.add(session, ip);
    session.once("close", () => {
      release();
      this.#states.delete(session);
      this.#idle.delete(session);
    });
    if (isRefused) session.setTimeout(FAREWELL_MS, () => this.#dismiss(session));
  }

  /**
   * Counts a call that begins on this connection.
   *
   * @returns what to call when it is over; or why it must not go on: `refused`: the connection is one too many; `flood`: it has been
   *   closed for its many calls
   */
  begin(session: Http2Session): (() => void) | "refused" | "flood" {
    const state = this.#states.get(session);
    if (state === undefined || !state.rate.take(this.#now())) {
      if (!session.destroyed) {
        session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
        session.destroy();
      }
      return "flood";
    }
    if (state.isRefused) return "refused";
    state.callCount += 1;
    this.#idle.delete(session);
    return () => {
      state.callCount -= 1;
      if (state.callCount === 0 && this.#states.has(session)) this.#idle.add(session, state.ip);
    };
  }

  /** Where it comes from; empty: from nowhere that has an address, or it is gone. */
  addressOf(session: Http2Session): string {
    return this.#states.get(session)?.ip ?? "";
  }

  /** Closes it when the calls on it are over, and in any case after a while: one that has broken the protocol would stay. */
  #dismiss(session: Http2Session): void {
    this.#idle.delete(session);
    session.close();
    const timer = setTimeout(() => session.destroy(), FAREWELL_MS);
    timer.unref();
    session.once("close", () => clearTimeout(timer));
  }
}
