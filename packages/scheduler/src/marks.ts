/** What is remembered of others, as long as they exist. One mark too many forgets all of them: whoever has so many is told too much. */
export class Marks<Key extends WeakKey, Value> {
  readonly #countMax: number;
  #values = new WeakMap<Key, Value>();
  #count = 0;

  constructor(countMax = 256) {
    this.#countMax = countMax;
  }

  /** Of those that do not exist any more, too. */
  get size(): number {
    return this.#count;
  }

  has(key: Key): boolean {
    return this.#values.has(key);
  }

  get(key: Key): Value | undefined {
    return this.#values.get(key);
  }

  set(key: Key, value: Value): void {
    if (!this.#values.has(key)) {
      if (this.#count >= this.#countMax) this.clear();
      this.#count += 1;
    }
    this.#values.set(key, value);
  }

  delete(key: Key): void {
    if (this.#values.delete(key)) this.#count -= 1;
  }

  clear(): void {
    if (this.#count === 0) return;
    this.#values = new WeakMap();
    this.#count = 0;
  }
}
