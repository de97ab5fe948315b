import type { Channel } from "../link/channel.ts";

/** Two ends of a channel inside one process: messages are cloned, as between two. */
export function createMemoryChannels(): [Channel, Channel] {
  const closing = new AbortController();
  const [one, other] = [new MemoryChannel(closing), new MemoryChannel(closing)];
  one.target = other;
  other.target = one;
  return [one, other];
}

class MemoryChannel implements Channel {
  readonly closed: Promise<void>;
  target: MemoryChannel | undefined;
  readonly #closing: AbortController;
  readonly #waiting: unknown[] = [];
  #onMessage: ((message: unknown) => void) | undefined;

  constructor(closing: AbortController) {
    this.#closing = closing;
    this.closed = new Promise((resolve) => {
      closing.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  get onMessage(): ((message: unknown) => void) | undefined {
    return this.#onMessage;
  }

  set onMessage(listener: ((message: unknown) => void) | undefined) {
    this.#onMessage = listener;
    if (listener === undefined) return;
    for (const message of this.#waiting.splice(0)) listener(message);
  }

  send(message: unknown): void {
    const copy = structuredClone(message);
    setImmediate(() => this.target?.deliver(copy));
  }

  close(): void {
    setImmediate(() => this.#closing.abort());
  }

  deliver(message: unknown): void {
    if (this.#closing.signal.aborted) return;
    if (this.#onMessage === undefined) this.#waiting.push(message);
    else this.#onMessage(message);
  }
}
