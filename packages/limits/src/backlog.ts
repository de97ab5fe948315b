import type { Destroyable } from "./half-open.ts";

/**
 * Bytes that are held for others, and cannot be refused because they are here already. When they are too many, who has made no progress
 * for the longest time loses theirs.
 */
export class Backlog<Owner extends Destroyable> {
  readonly #lengthMax: number;
  /** Held bytes; the first is the one without progress for longest. */
  readonly #lengths = new Map<Owner, number>();
  #length = 0;
  #evictedCount = 0;

  /** @param lengthMax in bytes, of all owners together; one that holds more than that alone is left */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  get length(): number {
    return this.#length;
  }

  get evictedCount(): number {
    return this.#evictedCount;
  }

  /** Bytes held for `owner` from now on, which is progress; 0: none, it is forgotten. May destroy others, never `owner`. */
  set(owner: Owner, length: number): void {
    this.#length += length - (this.#lengths.get(owner) ?? 0);
    this.#lengths.delete(owner);
    if (length > 0) this.#lengths.set(owner, length);
    while (this.#length > this.#lengthMax) {
      const [stalest] = this.#lengths.keys();
      if (stalest === undefined || stalest === owner) return;
      this.set(stalest, 0);
      this.#evictedCount += 1;
      stalest.destroy();
    }
  }
}
