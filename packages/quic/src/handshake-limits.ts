import { AddressRates, toAddressGroup } from "@damselfly/limits";
import type { QuicLimits } from "./quic.ts";

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
  readonly #rates: AddressRates;

  constructor(limits: QuicLimits) {
    this.#limits = limits;
    this.#rates = new AddressRates(limits.handshakesPerSecondMax);
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
    const available = this.#rates.available(ip, now);
    if (this.#count >= halfOpenCountMax) return "drop";
    if (isProven) {
      if (count >= halfOpenPerAddressMax || available < 1) return "drop";
    } else {
      const isHalfUsed = count >= halfOpenPerAddressMax / 2 || available <= this.#rates.burst / 2;
      if (isHalfUsed || this.#count >= retryHalfOpenCount) return "retry";
    }
    this.#rates.take(ip, now);
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
}
