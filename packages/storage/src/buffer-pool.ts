/** Buffers of one length, used again rather than left to the collector. */
export class BufferPool {
  /** Of every buffer, in bytes. */
  readonly length: number;
  readonly #idleCountMax: number;
  readonly #idle: Uint8Array[] = [];

  /** @param options.idleCountMax buffers kept for later; as many as are asked for can be out at once */
  constructor(options: { readonly length: number; readonly idleCountMax: number }) {
    this.length = options.length;
    this.#idleCountMax = options.idleCountMax;
  }

  take(): Uint8Array {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.length);
  }

  /** Only for a buffer that nobody reads or writes any more: when in doubt, drop it instead. */
  giveBack(buffer: Uint8Array): void {
    if (this.#idle.length < this.#idleCountMax) this.#idle.push(buffer);
  }
}
