import { toAddressGroup } from "./address-group.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Addresses whose rate is known at once; whoever was quiet for longest is forgotten first, to its advantage. */
const ADDRESS_COUNT_MAX = 4096;

/** A quiet address may do so many seconds' worth at once. */
const BURST_SECONDS = 2;

/** How often something may happen in a second from one address: on average, and twice that after a pause. */
export class AddressRates {
  readonly #perSecond: number;
  /** The first is the one that was quiet for longest. */
  readonly #rates = new Map<string, TokenBucket>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** How often it may happen at once, after a pause. */
  get burst(): number {
    return BURST_SECONDS * this.#perSecond;
  }

  /** How often it may happen at this moment. @param now in milliseconds of a clock that does not run backwards */
  available(ip: string, now: number): number {
    return this.#rateOf(ip, now).available(now);
  }

  /** False if it must not happen now. */
  take(ip: string, now: number): boolean {
    return this.#rateOf(ip, now).take(now);
  }

  #rateOf(ip: string, now: number): TokenBucket {
    const address = toAddressGroup(ip);
    const { burst } = this;
    const rate =
      this.#rates.get(address) ?? new TokenBucket({ perSecond: this.#perSecond, burst }, now);
    this.#rates.delete(address);
    this.#rates.set(address, rate);
    for (const quietest of this.#rates.keys()) {
      if (this.#rates.size <= ADDRESS_COUNT_MAX) break;
      this.#rates.delete(quietest);
    }
    return rate;
  }
}
