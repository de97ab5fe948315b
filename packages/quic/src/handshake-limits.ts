import { toAddressGroup, TokenBucket } from "@damselfly/limits";
import type { QuicLimits } from "./quic.ts";

/** Addresses whose rate is known at once; whoever was quiet for longest is forgotten first, to its advantage. */
const ADDRESS_COUNT_MAX = 4096;

/** A quiet address may begin this many seconds' worth of handshakes at once. */
const BURST_SECONDS = 2;

/**
 * Says what to do with each handshake that somebody wants to begin. Those whose address is not proven get no further
 * than half of what an address is allowed, as a liar would use up somebody else's share; from there on, and while
 * many handshakes are under way, they are told to prove it (Retry). Beyond the limits nobody is answered.
 */
export class HandshakeLimits {
  readonly #limits: QuicLimits;
  #count = 0;
  /** Handshakes under way, by address. */
  readonly #counts = new Map<string, number>();
  /** Those with handshakes lately; the first is the one that was quiet for longest. */
  readonly #rates = new Map<string, TokenBucket>();

  constructor(limits: QuicLimits) {
    this.#limits = limits;
  }

  /**
   * After `take` the handshake counts until `end` is called.
   *
   * @param isProven whether the peer has shown that it receives what is sent to `ip`
   * @param now in milliseconds of a clock that does not run backwards
   */
  begin(ip: string, isProven: boolean, now: number): "take" | "retry" | "drop" {
    const { halfOpenCountMax, retryHalfOpenCount, halfOpenPerAddressMax } = this.#limits;
    const address = toAddressGroup(ip);
    const count = this.#counts.get(address) ?? 0;
    const rate = this.#rateOf(address, now);
    const available = rate.available(now);
    if (this.#count >= halfOpenCountMax) return "drop";
    if (isProven) {
      if (count >= halfOpenPerAddressMax || available < 1) return "drop";
    } else {
      const isHalfUsed = count >= halfOpenPerAddressMax / 2 || available <= this.#burst / 2;
      if (isHalfUsed || this.#count >= retryHalfOpenCount) return "retry";
    }
    rate.take(now);
    this.#count++;
    this.#counts.set(address, count + 1);
    return "take";
  }

  end(ip: string): void {
    const address = toAddressGroup(ip);
    const count = this.#counts.get(address) ?? 0;
    this.#count--;
    if (count > 1) this.#counts.set(address, count - 1);
    else this.#counts.delete(address);
  }

  get #burst(): number {
    return BURST_SECONDS * this.#limits.handshakesPerSecondMax;
  }

  #rateOf(address: string, now: number): TokenBucket {
    const perSecond = this.#limits.handshakesPerSecondMax;
    const rate =
      this.#rates.get(address) ?? new TokenBucket({ perSecond, burst: this.#burst }, now);
    this.#rates.delete(address);
    this.#rates.set(address, rate);
    for (const quietest of this.#rates.keys()) {
      if (this.#rates.size <= ADDRESS_COUNT_MAX) break;
      this.#rates.delete(quietest);
    }
    return rate;
  }
}
