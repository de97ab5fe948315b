/** When a datagram is sent again, in milliseconds since it was kept. */
const REPEATED_AFTER_MS = [15, 75] as const;

/** Datagrams waiting to be repeated; beyond it they have to get through at the first attempt. */
const WAITING_COUNT_MAX = 256;

/**
 * Sends some datagrams twice more, for what the binding does not send again when it is lost: quiche 0.18 repeats no
 * STOP_SENDING, and neither the end nor the reset of a stream that it has forgotten by the time it finds the loss.
 * The peer drops a packet that it has already had. Of a path's 1 % of loss a millionth is left.
 */
export class PacketRepeater {
  readonly #onDue: () => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  #kept: Uint8Array[] = [];
  #due: Uint8Array[] = [];
  #waitingCount = 0;

  /** @param onDue when `takeDue` has something to give */
  constructor(onDue: () => void) {
    this.#onDue = onDue;
  }

  /** Copies a datagram that is being sent. */
  keep(datagram: Uint8Array): void {
    if (this.#waitingCount >= WAITING_COUNT_MAX) return;
    this.#waitingCount++;
    if (this.#kept.push(datagram.slice()) > 1) return;
    const batch = this.#kept;
    for (const [index, delay] of REPEATED_AFTER_MS.entries()) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        if (this.#kept === batch) this.#kept = [];
        if (index === REPEATED_AFTER_MS.length - 1) this.#waitingCount -= batch.length;
        this.#due.push(...batch);
        this.#onDue();
      }, delay);
      this.#timers.add(timer);
    }
  }

  /** What is to be sent again now. */
  takeDue(): readonly Uint8Array[] {
    const due = this.#due;
    if (due.length > 0) this.#due = [];
    return due;
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#due = [];
  }
}
