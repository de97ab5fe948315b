/** Two pings may be lost before patience runs out. */
const PINGS_PER_PATIENCE = 3;
/** However short an idle timeout the peer names: pings cost packets. Milliseconds. */
const INTERVAL_MS_MIN = 10;

export interface KeepAliveInit {
  /** Silence that is borne, in milliseconds. */
  readonly patienceMs: number;
  /** Datagrams received so far. */
  readonly countReceived: () => number;
  readonly ping: () => void;
  /** Called once, when pings have gone unanswered for that long. */
  readonly onSilence: () => void;
}

/** Pings a peer until stopped, and notices when it no longer answers. */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout;

  constructor({ patienceMs, countReceived, ping, onSilence }: KeepAliveInit) {
    let seenCount = countReceived();
    let silentCount = 0;
    const intervalMs = Math.max(INTERVAL_MS_MIN, Math.floor(patienceMs / PINGS_PER_PATIENCE));
    this.#timer = setInterval(() => {
      const count = countReceived();
      silentCount = count === seenCount ? silentCount + 1 : 0;
      seenCount = count;
      if (silentCount <= PINGS_PER_PATIENCE) {
        ping();
        return;
      }
      this.stop();
      onSilence();
    }, intervalMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
