import type { NativeConnection, NativeServer } from "./binding.ts";

/** Calls that wait beside those whose peer is in its handshake. */
const SPARE_COUNT = 16;
/** Peers in their handshakes at once; beyond it the native layer lets them wait. */
const WAITING_COUNT_MAX = 1024;
/** How often peers that do not finish their handshakes are made up for. Milliseconds. */
const REFILL_MS = 250;
/** The time that a handshake may take is looked back on in so many steps. */
const SAMPLE_COUNT = 32;

export interface AcceptorOptions {
  readonly server: Pick<NativeServer, "inboundConnection" | "stats">;
  readonly onConnection: (native: NativeConnection) => void;
  /** After this every handshake has ended, for better or worse. Milliseconds. */
  readonly handshakeMs: number;
  /** Milliseconds of a clock that does not run backwards. */
  readonly now: () => number;
}

/**
 * Takes connections from the native server. Each of its calls waits for one peer and then for that peer's whole
 * handshake, so that silent peers would block it: there are always some calls more than handshakes.
 *
 * How many handshakes run is not told: only how many have begun so far, and each call how its own ended. Nor is it told whether a
 * call that failed had begun one: a first packet that is none makes it fail, too. So the count is bounded from above, by what
 * has begun and not succeeded, and by what has begun so lately that it may still run.
 */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #timer: NodeJS.Timeout;
  #waitingCount = 0;
  #begunCount = 0;
  /** No fewer than the handshakes that run. */
  #runningCountMax = 0;
  /** How many had begun, and when; the first is the latest from before `handshakeMs`. */
  readonly #samples: { readonly at: number; readonly begunCount: number }[];
  #isStopped = false;

  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#samples = [{ at: options.now(), begunCount: 0 }];
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
    this.#estimate();
    const wanted = Math.min(this.#runningCountMax + SPARE_COUNT, WAITING_COUNT_MAX);
    while (this.#waitingCount < wanted) void this.#wait();
  }

  #estimate(): void {
    const { server, handshakeMs, now } = this.#options;
    const { acceptedHandshakes: begunCount } = server.stats();
    const at = now();
    this.#runningCountMax += begunCount - this.#begunCount;
    this.#begunCount = begunCount;
    const [before] = this.#samples;
    const lately = begunCount - (before?.begunCount ?? 0);
    this.#runningCountMax = Math.max(0, Math.min(this.#runningCountMax, lately));
    const last = this.#samples.at(-1);
    if (last === undefined || at - last.at >= handshakeMs / SAMPLE_COUNT) {
      this.#samples.push({ at, begunCount });
    }
    while ((this.#samples[1]?.at ?? Infinity) <= at - handshakeMs) this.#samples.shift();
  }

  async #wait(): Promise<void> {
    const { server, onConnection } = this.#options;
    this.#waitingCount++;
    try {
      const native = await server.inboundConnection();
      this.#estimate();
      this.#runningCountMax = Math.max(0, this.#runningCountMax - 1);
      if (this.#isStopped) native.abort();
      else onConnection(native);
    } catch (error) {
      // One peer's failed handshake is nobody's loss; a closed server has no more.
      if (error instanceof Error && error.message === "server closed") this.stop();
    } finally {
      this.#waitingCount--;
      this.#refill();
    }
  }
}
