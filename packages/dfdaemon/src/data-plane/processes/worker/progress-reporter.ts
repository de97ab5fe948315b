import type { Progress } from "../protocol.ts";

/** Told this often of what has come and gone, at most: chunks are far too many. Milliseconds. */
const REPORT_MS = 100;

/** Of one content. */
interface Sum {
  length: number;
  waitedMs: number;
  doubledLength: number;
}

/** Adds up bytes and tells of them now and then. */
export class ProgressReporter {
  readonly #report: (progress: Progress) => void;
  readonly #received = new Map<number, Sum>();
  #sentLength = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (progress: Progress) => void) {
    this.#report = report;
  }

  received(content: number, length: number): void {
    this.#of(content).length += length;
    this.#schedule();
  }

  /** Whoever takes a content has waited for bytes of it. */
  waited(content: number, ms: number): void {
    this.#of(content).waitedMs += ms;
    this.#schedule();
  }

  /** Bytes of a content came that were there already. */
  doubled(content: number, length: number): void {
    this.#of(content).doubledLength += length;
    this.#schedule();
  }

  sent(length: number): void {
    this.#sentLength += length;
    this.#schedule();
  }

  /** Tells at once what has not been told. */
  flush(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const received = [...this.#received].map(
      ([content, { length, waitedMs, doubledLength }]) =>
        [content, length, waitedMs, doubledLength] as const,
    );
    const progress = { received, sentLength: this.#sentLength };
    this.#received.clear();
    this.#sentLength = 0;
    this.#report(progress);
  }

  #of(content: number): Sum {
    let sum = this.#received.get(content);
    if (sum === undefined) {
      sum = { length: 0, waitedMs: 0, doubledLength: 0 };
      this.#received.set(content, sum);
    }
    return sum;
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.flush(), REPORT_MS).unref();
  }
}
