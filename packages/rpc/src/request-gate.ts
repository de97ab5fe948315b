import { toAddressGroup } from "@damselfly/limits";
import { status } from "./rpc-error.ts";

export interface RequestLimits {
  /** Requests let through in a second. */
  readonly ratePerSecond: number;
  /** Requests that wait for their turn; one more is refused. */
  readonly waitingCountMax: number;
}

const WINDOW_MS = 1_000;

interface Waiting {
  readonly address: string;
  readonly leave: () => void;
}

/**
 * Lets so many requests through in a second, makes a few wait for the next one, and refuses the rest. As Dragonfly's daemons do it; but
 * where several addresses ask, each has half of that at most, so that none keeps the others out.
 */
export class RequestGate {
  readonly #limits: RequestLimits;
  readonly #waiting = new Set<Waiting>();
  #passedCount = 0;
  /** Requests of each address that have passed in this window. */
  #asked = new Map<string, number>();
  /** Addresses that asked in the one before. */
  #askedBefore: ReadonlySet<string> = new Set();
  /** Runs while the window in which requests have passed is not over. */
  #window: NodeJS.Timeout | undefined;

  constructor(limits: RequestLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves when the request may go on.
   *
   * @param ip the caller's; empty: it has none, as on a unix socket
   * @throws {RpcError} `RESOURCE_EXHAUSTED`
   * @throws the signal's reason
   */
  async enter(signal: AbortSignal, ip = ""): Promise<void> {
    signal.throwIfAborted();
    const address = ip === "" ? "" : toAddressGroup(ip);
    this.#open();
    if (this.#mayPass(address)) {
      this.#pass(address);
      return;
    }
    if (!this.#mayWait(address)) {
      throw status(
        "RESOURCE_EXHAUSTED",
        "server is overloaded: too many requests, please retry later",
      );
    }
    await new Promise<void>((resolve) => {
      const leave = (): void => {
        this.#waiting.delete(waiting);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const waiting: Waiting = { address, leave };
      this.#waiting.add(waiting);
      signal.addEventListener("abort", leave, { once: true });
    });
    signal.throwIfAborted();
  }

  #mayPass(address: string): boolean {
    const { ratePerSecond } = this.#limits;
    if (this.#passedCount >= ratePerSecond) return false;
    if (address === "" || this.#isAlone(address)) return true;
    return (this.#asked.get(address) ?? 0) < ratePerSecond / 2;
  }

  #mayWait(address: string): boolean {
    const { waitingCountMax } = this.#limits;
    if (this.#waiting.size >= waitingCountMax) return false;
    if (address === "") return true;
    let count = 0;
    for (const waiting of this.#waiting) if (waiting.address === address) count += 1;
    return count < waitingCountMax / 2;
  }

  /** Nobody else has asked lately. */
  #isAlone(address: string): boolean {
    return isAlone(address, this.#asked) && isAlone(address, this.#askedBefore);
  }

  #pass(address: string): void {
    this.#passedCount += 1;
    this.#asked.set(address, (this.#asked.get(address) ?? 0) + 1);
  }

  #open(): void {
    if (this.#window !== undefined) return;
    this.#window = setTimeout(() => this.#begin(), WINDOW_MS);
    this.#window.unref();
  }

  #begin(): void {
    this.#window = undefined;
    this.#passedCount = 0;
    this.#askedBefore = new Set([
      ...this.#asked.keys(),
      ...[...this.#waiting].map(({ address }) => address),
    ]);
    this.#asked = new Map();
    if (this.#askedBefore.size > 0) this.#open();
    for (const { address, leave } of this.#waiting) {
      if (!this.#mayPass(address)) continue;
      this.#pass(address);
      leave();
    }
  }
}

function isAlone(address: string, addresses: Pick<ReadonlySet<string>, "size" | "has">): boolean {
  return addresses.size === 0 || (addresses.size === 1 && addresses.has(address));
}
