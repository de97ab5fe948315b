import { status } from "./rpc-error.ts";

/** The writing half of a grpc-js server call. */
interface MessageSink {
  write(message: object, callback: () => void): boolean;
}

/**
 * Messages handed to HTTP/2 and not yet taken by flow control, at most. grpc-js itself would queue 16; two keep the
 * next message ready while one is sent, and bound what a slow caller holds.
 */
const IN_FLIGHT_COUNT_MAX = 2;

/** Sends messages no faster than the caller takes them. */
export class MessageSender {
  readonly #sink: MessageSink;
  readonly #signal: AbortSignal;
  readonly #timeoutMs: number | undefined;
  #inFlightCount = 0;
  #wake: (() => void) | undefined;
  #hasLeft = false;
  #failure: Error | undefined;
  readonly #onTaken: (() => void)[] = [];

  /** @param options.timeoutMs how long the caller may take to take a message; absent: as long as it likes */
  constructor(
    sink: MessageSink,
    signal: AbortSignal,
    options: { readonly timeoutMs?: number | undefined } = {},
  ) {
    this.#sink = sink;
    this.#signal = signal;
    this.#timeoutMs = options.timeoutMs;
    // A cancelled call never says that a message was taken.
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  /** The caller has left, or has taken everything: nothing that was sent is held any more. */
  leave(): void {
    this.#hasLeft = true;
    this.#settle();
  }

  /** The message that is being sent, and any other, fails with this. */
  giveUp(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** Resolves when nothing that was sent is held any more. */
  async taken(): Promise<void> {
    if (this.#isHolding) await new Promise<void>((resolve) => this.#onTaken.push(resolve));
  }

  #assertWanted(): void {
    this.#signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
  }

  get #isHolding(): boolean {
    return this.#inFlightCount > 0 && !this.#hasLeft;
  }

  #settle(): void {
    if (this.#isHolding) return;
    for (const resolve of this.#onTaken.splice(0)) resolve();
  }

  /**
   * Resolves when the next message may be sent. One at a time.
   *
   * @throws the signal's reason when the caller has left
   * @throws {RpcError} `DEADLINE_EXCEEDED` when it takes nothing for too long
   * @throws what the call was given up with
   */
  async send(message: object): Promise<void> {
    this.#assertWanted();
    this.#inFlightCount += 1;
    this.#sink.write(message, () => {
      this.#inFlightCount -= 1;
      this.#wake?.();
      this.#settle();
    });
    if (this.#inFlightCount < IN_FLIGHT_COUNT_MAX) return;
    const timeoutMs = this.#timeoutMs;
    let isLate = false;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (timeoutMs === undefined) return;
      timer = setTimeout(() => {
        isLate = true;
        resolve();
      }, timeoutMs);
    });
    clearTimeout(timer);
    this.#wake = undefined;
    this.#assertWanted();
    if (isLate) {
      throw status(
        "DEADLINE_EXCEEDED",
        `Cannot send: the caller has taken nothing for ${timeoutMs} ms`,
      );
    }
  }
}
