/** Of the first probe. Above the round trip of nearly all paths, below what anybody calls a hang. */
const FIRST_MS = 200;

/** A client's clock in a handshake: when it has sent nothing for a while, it is to repeat itself, at twice the distance every time. */
export class HandshakeProbe {
  readonly #sentCount: () => number;
  readonly #probe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #delayMs = FIRST_MS;
  /** Without the probes. */
  #sentBefore: number | undefined;
  #probeCount = 0;

  /** @param init.sentCount datagrams so far, with the probes; of which each is to be one */
  constructor(init: { readonly sentCount: () => number; readonly probe: () => void }) {
    this.#sentCount = init.sentCount;
    this.#probe = init.probe;
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    this.#timer = setTimeout(() => this.#onTimeout(), this.#delayMs);
  }

  #onTimeout(): void {
    const sent = this.#sentCount() - this.#probeCount;
    if (sent === (this.#sentBefore ?? sent)) {
      this.#delayMs *= 2;
      this.#probeCount++;
      this.#probe();
    }
    this.#sentBefore = sent;
    this.#arm();
  }
}
