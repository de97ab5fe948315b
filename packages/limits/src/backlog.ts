import type { Destroyable } from "./half-open.ts";

export interface BacklogOptions {
  /** Bytes of all owners together; one that holds more than that alone is left. */
  readonly lengthMax: number;
  /** Milliseconds of a clock that does not run backwards. */
  readonly now: () => number;
}

/**
 * Bytes that are held for others, and cannot be refused because they are here already. When they are too many, who has made no progress
 * for the longest time loses theirs.
 */
export class Backlog<Owner extends Destroyable> {
  readonly #options: BacklogOptions;
  /** The first is the one without progress for longest. */
  readonly #held = new Map<Owner, { readonly length: number; readonly at: number }>();
  #length = 0;
  #evictedCount = 0;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#length;
  }

  get evictedCount(): number {
    return this.#evictedCount;
  }

  /** Bytes held for `owner` from now on, which is progress; 0: none, it is forgotten. May destroy others, never `owner`. */
  set(owner: Owner, length: number): void {
    this.#length += length - (this.#held.get(owner)?.length ?? 0);
    this.#held.delete(owner);
    if (length > 0) this.#held.set(owner, { length, at: this.#options.now() });
    while (this.#length > this.#options.lengthMax) {
      const [stalest] = this.#held.keys();
      if (stalest === undefined || stalest === owner) return;
      this.#evict(stalest);
    }
  }

  /** Destroys those without progress for `ageMs`. */
  expire(ageMs: number): void {
    const before = this.#options.now() - ageMs;
    for (const [owner, { at }] of this.#held) {
      if (at > before) return;
      this.#evict(owner);
    }
  }

  #evict(owner: Owner): void {
    this.set(owner, 0);
    this.#evictedCount += 1;
    owner.destroy();
  }
}
