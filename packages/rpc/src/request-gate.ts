import { status } from "./rpc-error.ts";

export interface RequestLimits {
  /** Requests let through in a second. */
  readonly ratePerSecond: number;
  /** Requests that wait for their turn; one more is refused. */
  readonly waitingCountMax: number;
}

const WINDOW_MS = 1_000;

/** Lets so many requests through in a second, makes a few wait for the next one, and refuses the rest. As Dragonfly's daemons do it. */
export class RequestGate {
  readonly #limits: RequestLimits;
  readonly #waiting = new Set<() => void>();
  #passedCount = 0;
  /** Runs while the window in which requests have passed is not over. */
  #window: NodeJS.Timeout | undefined;

  constructor(limits: RequestLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves when the request may go on.
   *
   * @throws {RpcError} `RESOURCE_EXHAUSTED`
   * @throws the signal's reason
   */
  async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#passedCount < this.#limits.ratePerSecond) {
      this.#pass();
      return;
    }
    if (this.#waiting.size >= this.#limits.waitingCountMax) {
      throw status(
        "RESOURCE_EXHAUSTED",
        "server is overloaded: too many requests, please retry later",
      );
    }
    await new Promise<void>((resolve) => {
      const leave = (): void => {
        this.#waiting.delete(leave);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      this.#waiting.add(leave);
      signal.addEventListener("abort", leave, { once: true });
    });
    signal.throwIfAborted();
  }

  #pass(): void {
    this.#passedCount += 1;
    if (this.#window !== undefined) return;
    this.#window = setTimeout(() => this.#begin(), WINDOW_MS);
    this.#window.unref();
  }

  #begin(): void {
    this.#window = undefined;
    this.#passedCount = 0;
    for (const leave of [...this.#waiting].slice(0, this.#limits.ratePerSecond)) {
      this.#pass();
      leave();
    }
  }
}
