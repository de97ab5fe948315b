import type { StoredTask } from "@damselfly/storage";

/** How often one piece is fetched again for a caller who finds it damaged each time: a disk that flips bits will do so again. */
export const REPAIRS_MAX = 3;

/**
 * The pieces that somebody was told of. Kept over the attempts of one download it lets whoever is handed the content itself, and may have given
 * it away by now, go on from where he was when a piece on the way turns out to be damaged; as long as it is the same content.
 */
export class ToldPieces {
  readonly #numbers = new Set<number>();
  /** How often each was of no use. */
  readonly #lossCounts = new Map<number, number>();
  #task: StoredTask | undefined;
  #countBefore = 0;
  #end: Error | undefined;

  /** Those of them that are still to be told of. */
  untold(task: StoredTask, pieceNumbers: readonly number[]): readonly number[] {
    if (this.#task !== task) return pieceNumbers;
    return pieceNumbers.filter((number) => !this.#numbers.has(number));
  }

  /** Tells of this content from now on. False: it goes on; whatever was told of another one is void. */
  begin(task: StoredTask): boolean {
    if (this.#task === task) return false;
    this.#task = task;
    this.#numbers.clear();
    return true;
  }

  has(number: number): boolean {
    return this.#numbers.has(number);
  }

  add(number: number): void {
    this.#numbers.add(number);
  }

  /**
   * The piece that was told of last could not be used. True: it will be had again, and told of again; false: that has been so too often.
   */
  lose(number: number): boolean {
    const lossCount = (this.#lossCounts.get(number) ?? 0) + 1;
    this.#lossCounts.set(number, lossCount);
    this.#numbers.delete(number);
    return lossCount <= REPAIRS_MAX;
  }

  /** There is no more to be had of this content, says whoever wanted to read what was told of: its task is gone. Another one may have it. */
  end(error: Error): void {
    this.#end = error;
  }

  /** What was told of is void, also if the same task goes on: all of it is to be told of again. */
  revoke(error: Error): void {
    this.#task = undefined;
    this.#end = error;
  }

  /** Ask after each piece that was told of. @throws what it ended with, or was revoked for, once */
  assertGoesOn(): void {
    const error = this.#end;
    this.#end = undefined;
    if (error !== undefined) throw error;
  }

  /** Whether they are more than they were whenever this was asked before: who goes on only while they are comes to an end. */
  takeGrowth(): boolean {
    const { size } = this.#numbers;
    if (size <= this.#countBefore) return false;
    this.#countBefore = size;
    return true;
  }
}
