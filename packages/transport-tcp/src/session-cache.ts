import type { CertificateChain } from "@damselfly/transport";

/** A TLS session to resume, and since when it is known who is behind it. */
export interface KnownSession {
  readonly session: Buffer;
  /** What was shown then: who resumes is shown nothing. */
  readonly chain: CertificateChain;
  /** When the certificate was last seen and checked; on the clock of `performance.now`. */
  readonly checkedAt: number;
}

/** A handshake that resumes a session shows no certificate: after this one has to be shown again. Milliseconds. */
const AGE_MAX_MS = 600_000;
/** One a target; one more forgets the oldest. */
const COUNT_MAX = 10_000;

/**
 * TLS sessions of earlier connections, by target. Whoever can resume one holds the keys of the node whose certificate
 * was checked then: so sessions are kept apart by what was checked, and grow old from that check on, however often
 * they are resumed.
 */
export class SessionCache {
  readonly #sessions = new Map<string, KnownSession>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  find(key: string): KnownSession | undefined {
    const known = this.#sessions.get(key);
    if (known === undefined || this.#now() - known.checkedAt < AGE_MAX_MS) return known;
    this.#sessions.delete(key);
    return undefined;
  }

  remember(key: string, known: KnownSession): void {
    this.#sessions.delete(key);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= COUNT_MAX && oldest !== undefined) this.#sessions.delete(oldest);
    this.#sessions.set(key, known);
  }

  forget(key: string): void {
    this.#sessions.delete(key);
  }

  clear(): void {
    this.#sessions.clear();
  }
}
