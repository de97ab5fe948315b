/** Buffers that nobody has needed for this long are given up. Milliseconds; it may take twice as long. */
const IDLE_MS = 5_000;

/** Buffers of one length, used again rather than left to the collector while there is something to do. */
export class BufferPool {
  /** Of every buffer, in bytes. */
  readonly length: number;
  readonly #idleCountMax: number;
  readonly #idle: Uint8Array[] = [];
  #isUsed = false;
  #sweep: NodeJS.Timeout | undefined;

  /** @param options.idleCountMax buffers kept for later; as many as are asked for can be out at once */
  constructor(options: { readonly length: number; readonly idleCountMax: number }) {
    this.length = options.length;
    this.#idleCountMax = options.idleCountMax;
  }

  /** Buffers that are kept at this moment. */
  get idleCount(): number {
    return this.#idle.length;
  }

  take(): Uint8Array {
    this.#isUsed = true;
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.length);
  }

  /** Only for a buffer that nobody reads or writes any more: when in doubt, drop it instead. */
  giveBack(buffer: Uint8Array): void {
    if (this.#idle.length >= this.#idleCountMax) return;
    this.#idle.push(buffer);
    this.#sweepLater();
  }

  #sweepLater(): void {
    if (this.#sweep !== undefined) return;
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined;
      if (this.#isUsed) this.#sweepLater();
      else this.#idle.length = 0;
      this.#isUsed = false;
    }, IDLE_MS).unref();
  }
}
