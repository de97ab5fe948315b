/** Bytes set aside in a `ByteBudget`. */
export interface Reservation {
  /** Held at this moment; 0 once it is released. */
  readonly length: number;
  /** Gives some back, or takes more without asking: for when it is known how much it really is. */
  resize(length: number): void;
  /** Idempotent. */
  release(): void;
}

/** Bounds the bytes that are on their way at once, over everything that shares it. First come, first served. */
export class ByteBudget {
  readonly #lengthMax: number;
  #usedLength = 0;
  readonly #waiting: { readonly length: number; grant(): void }[] = [];

  /** @param lengthMax in bytes */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  get usedLength(): number {
    return this.#usedLength;
  }

  /**
   * Waits for its turn. More than the whole budget is granted when nothing else is.
   *
   * @throws the signal's reason, when it aborts
   */
  async reserve(length: number, signal: AbortSignal): Promise<Reservation> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#hasRoom(length)) await this.#wait(length, signal);
    else this.#usedLength += length;
    return this.#reservation(length);
  }

  /** Without waiting, and never before those who do. */
  tryReserve(length: number): Reservation | undefined {
    if (this.#waiting.length > 0 || !this.#hasRoom(length)) return undefined;
    this.#usedLength += length;
    return this.#reservation(length);
  }

  #hasRoom(length: number): boolean {
    return this.#usedLength === 0 || this.#usedLength + length <= this.#lengthMax;
  }

  async #wait(length: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        this.#grantNext(); // a shorter one behind it may fit
        reject(signal.reason);
      };
      const turn = {
        length,
        grant: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(turn);
    });
  }

  #reservation(length: number): Reservation {
    let held = length;
    const resize = (wanted: number): void => {
      this.#usedLength += wanted - held;
      held = wanted;
      this.#grantNext();
    };
    return {
      get length() {
        return held;
      },
      resize,
      release: () => resize(0),
    };
  }

  #grantNext(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || !this.#hasRoom(next.length)) return;
      this.#waiting.shift();
      this.#usedLength += next.length;
      next.grant();
    }
  }
}
