/** Reports in the order in which they were made. However many wait, none costs more than another: an array's own `shift` moves them all. */
export class ReportQueue<Report> {
  readonly #reports: Report[] = [];
  /** Those before it have been taken. */
  #start = 0;

  get length(): number {
    return this.#reports.length - this.#start;
  }

  push(report: Report): void {
    this.#reports.push(report);
  }

  /** The oldest; undefined: there is none. */
  shift(): Report | undefined {
    if (this.length === 0) return undefined;
    const report = this.#reports[this.#start];
    this.#start += 1;
    if (this.#start >= this.#reports.length / 2) {
      this.#reports.splice(0, this.#start);
      this.#start = 0;
    }
    return report;
  }

  /** Drops the oldest that is dispensable; the oldest of all, where none is. */
  dropOldest(isDispensable: (report: Report) => boolean): void {
    let at = this.#start;
    while (at < this.#reports.length && !isDispensable(this.#reports[at]!)) at += 1;
    if (at < this.#reports.length) this.#reports.copyWithin(this.#start + 1, this.#start, at);
    this.shift();
  }

  clear(): void {
    this.#reports.length = 0;
    this.#start = 0;
  }
}
