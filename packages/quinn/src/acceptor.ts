import type { NativeConnection, NativeServer } from "./binding.ts";

/** Calls that wait beside those whose peer is in its handshake. */
const SPARE_COUNT = 16;
/** Peers in their handshakes at once; beyond it the native layer lets them wait. */
const WAITING_COUNT_MAX = 1024;
/** How often peers that do not finish their handshakes are made up for. Milliseconds. */
const REFILL_MS = 250;

/**
 * Takes connections from the native server. Each of its calls waits for one peer and then for that peer's whole
 * handshake, so that silent peers would block it: there are always some calls more than handshakes.
 */
export class Acceptor {
  readonly #server: NativeServer;
  readonly #onConnection: (native: NativeConnection) => void;
  readonly #timer: NodeJS.Timeout;
  #waitingCount = 0;
  /** Calls that have ended, well or not. */
  #settledCount = 0;
  #isStopped = false;

  constructor(server: NativeServer, onConnection: (native: NativeConnection) => void) {
    this.#server = server;
    this.#onConnection = onConnection;
    this.#timer = setInterval(() => this.#refill(), REFILL_MS).unref();
    this.#refill();
  }

  /** What still comes is aborted. */
  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  #refill(): void {
    if (this.#isStopped) return;
    const inHandshake = this.#server.stats().acceptedHandshakes - this.#settledCount;
    const wanted = Math.min(inHandshake + SPARE_COUNT, WAITING_COUNT_MAX);
    while (this.#waitingCount < wanted) void this.#wait();
  }

  async #wait(): Promise<void> {
    this.#waitingCount++;
    try {
      const native = await this.#server.inboundConnection();
      if (this.#isStopped) native.abort();
      else this.#onConnection(native);
    } catch (error) {
      // One peer's failed handshake is nobody's loss; a closed server has no more.
      if (error instanceof Error && error.message === "server closed") this.stop();
    } finally {
      this.#waitingCount--;
      this.#settledCount++;
      this.#refill();
    }
  }
}
