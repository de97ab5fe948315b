/** How many candidates may be looked at between two ticks, so that no task and no peer keeps all others waiting. */
export class LookBudget {
  readonly #countMax: number;
  #count: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
    this.#count = countMax;
  }

  get isSpent(): boolean {
    return this.#count <= 0;
  }

  /** What is begun is brought to its end. */
  spend(count: number): void {
    this.#count -= count;
  }

  refill(): void {
    this.#count = this.#countMax;
  }
}
