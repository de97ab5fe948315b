/** Bytes are added up for so long. Milliseconds. */
const SLOT_MS = 500;

/** How many bytes have come of late. */
export class RateWindow {
  readonly #slotCount: number;
  readonly #slots: { readonly slot: number; length: number }[] = [];
  readonly #startedMs: number;

  /** @param windowMs how long is "of late", in milliseconds */
  constructor(windowMs: number, nowMs: number) {
    this.#slotCount = Math.ceil(windowMs / SLOT_MS);
    this.#startedMs = nowMs;
  }

  add(length: number, nowMs: number): void {
    const slot = Math.floor(nowMs / SLOT_MS);
    const last = this.#slots.at(-1);
    if (last?.slot === slot) last.length += length;
    else this.#slots.push({ slot, length });
    this.#forget(slot);
  }

  /** Bytes a millisecond: over the window, or what has passed of it. */
  rate(nowMs: number): number {
    this.#forget(Math.floor(nowMs / SLOT_MS));
    const length = this.#slots.reduce((sum, each) => sum + each.length, 0);
    const elapsedMs = Math.min(nowMs - this.#startedMs, this.#slotCount * SLOT_MS);
    return length / Math.max(elapsedMs, 1);
  }

  #forget(slot: number): void {
    while (this.#slots[0] !== undefined && this.#slots[0].slot <= slot - this.#slotCount)
      this.#slots.shift();
  }
}
