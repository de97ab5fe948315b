/** Told this often of what has come and gone, at most: chunks are far too many. Milliseconds. */
const REPORT_MS = 100;

export interface Progress {
  readonly received: readonly (readonly [content: number, length: number])[];
  readonly sentLength: number;
}

/** Adds up bytes and tells of them now and then. */
export class ProgressReporter {
  readonly #report: (progress: Progress) => void;
  readonly #received = new Map<number, number>();
  #sentLength = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (progress: Progress) => void) {
    this.#report = report;
  }

  received(content: number, length: number): void {
    this.#received.set(content, (this.#received.get(content) ?? 0) + length);
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
    const progress = { received: [...this.#received], sentLength: this.#sentLength };
    this.#received.clear();
    this.#sentLength = 0;
    this.#report(progress);
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.flush(), REPORT_MS).unref();
  }
}
