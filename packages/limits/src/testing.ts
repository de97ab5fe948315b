import type { Clock } from "./clock.ts";

/** Time that passes when the test says so; whatever is due meanwhile happens, each at its moment. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #due = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const entry = { at: this.#now + ms, run };
    this.#due.add(entry);
    return () => void this.#due.delete(entry);
  }

  get waitingCount(): number {
    return this.#due.size;
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#due].toSorted((one, other) => one.at - other.at)[0];
      if (next === undefined || next.at > end) break;
      this.#due.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
    await settle();
  }
}

/** Everything that needs no time happens: a few hundred steps of it. */
async function settle(): Promise<void> {
  for (let step = 0; step < 300; step += 1) await Promise.resolve();
}
