/** A time is believed for so long, in milliseconds: routes change. */
const BELIEVED_MS = 300_000;
const ADDRESS_COUNT_MAX = 10_000;

/**
 * The least time that connections to each address took of late. The systems at both ends do that alone, so that it is a
 * round trip however busy the programs are; one that is late to look sees more, never less.
 */
export class ConnectTimes {
  readonly #now: () => number;
  readonly #times = new Map<string, { readonly ms: number; readonly at: number }>();

  /** @param now - milliseconds on a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  note(ip: string, ms: number): void {
    const least = this.least(ip);
    if (least !== undefined && least <= ms) return;
    const [oldest] = this.#times.keys();
    if (this.#times.size >= ADDRESS_COUNT_MAX && oldest !== undefined) this.#times.delete(oldest);
    this.#times.delete(ip); // last again
    this.#times.set(ip, { ms, at: this.#now() });
  }

  /** Milliseconds; undefined: nothing is known. */
  least(ip: string): number | undefined {
    const known = this.#times.get(ip);
    return known === undefined || this.#now() - known.at > BELIEVED_MS ? undefined : known.ms;
  }
}
