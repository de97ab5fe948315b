import { isOtherIdentity, type TlsIdentity } from "./tls-identity.ts";

/** An identity that changes while servers and downloaders run: whoever holds the source pushes, they read no file themselves. */
export interface TlsSource {
  /** For connections that are made from now on. */
  readonly current: TlsIdentity;
  /**
   * Calls `listener` after each change; `current` is the new one by then.
   *
   * @returns what ends it
   */
  onChange(listener: () => void): () => void;
}

/** One that never changes is as good as its source. */
export type Tls = TlsIdentity | TlsSource;

/** A source that is told what to say. */
export class TlsStore implements TlsSource {
  #current: TlsIdentity;
  readonly #listeners = new Set<() => void>();

  constructor(current: TlsIdentity) {
    this.#current = current;
  }

  get current(): TlsIdentity {
    return this.#current;
  }

  /**
   * What says the same as before changes nothing, and nobody hears of it.
   *
   * @returns whether it was new
   * @throws what a listener throws, when all have been told
   */
  update(next: TlsIdentity): boolean {
    if (isSame(next, this.#current)) return false;
    this.#current = next;
    const failures: unknown[] = [];
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    return true;
  }

  onChange(listener: () => void): () => void {
    // Whoever listens twice is told twice.
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }
}

export function toTlsSource(tls: Tls): TlsSource {
  return "onChange" in tls ? tls : new TlsStore(tls);
}

function isSame(one: TlsIdentity, other: TlsIdentity): boolean {
  const { revoked: ours = [] } = one;
  const { revoked: theirs = [] } = other;
  if (isOtherIdentity(one, other) || ours.length !== theirs.length) return false;
  const known = new Set(theirs);
  return ours.every((serial) => known.has(serial));
}
