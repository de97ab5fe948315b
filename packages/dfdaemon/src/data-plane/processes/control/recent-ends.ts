/** Ends older than this are forgotten. Milliseconds. */
const MEMORY_MS = 10 * 60_000;

/** How often processes have ended of late. */
export class RecentEnds {
  #endsMs: number[] = [];

  /** One has ended. @returns ends in the last ten minutes, this one included */
  add(nowMs: number): number {
    this.#endsMs = [...this.#endsMs.filter((atMs) => nowMs - atMs < MEMORY_MS), nowMs];
    return this.#endsMs.length;
  }
}
