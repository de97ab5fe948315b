import { peerKeyOf } from "@damselfly/quinn";

/** A child's control stream ends when it has heard of every piece; fetching them takes longer. */
const GRACE_MS = 3_600_000;
const COUNT_MAX = 10_000;

/**
 * The keys that may dial our quinn port: those of children whose control stream runs, and for a while afterwards.
 * With `COUNT_MAX` of them one more is not let in, and uses another transport.
 */
export class KnownPeers {
  /** Called when a key may dial from now on, and when it may not any more. */
  onChange: ((peerKey: string, isKnown: boolean) => void) | undefined;
  readonly #graceMs: number;
  readonly #countMax: number;
  /** How many streams speak for a key. */
  readonly #holders = new Map<string, number>();

  constructor({
    graceMs = GRACE_MS,
    countMax = COUNT_MAX,
  }: { readonly graceMs?: number; readonly countMax?: number } = {}) {
    this.#graceMs = graceMs;
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#holders.size;
  }

  get peerKeys(): readonly string[] {
    return [...this.#holders.keys()];
  }

  has(peerKey: string): boolean {
    return this.#holders.has(peerKey);
  }

  /**
   * Lets the holder of a key in, until some time after the returned function is called. What is no key changes nothing.
   *
   * @param publicKey as libp2p encodes it, from a channel that is trusted
   */
  admit(publicKey: Uint8Array): () => void {
    const peerKey = readPeerKey(publicKey);
    const isFull = this.#holders.size >= this.#countMax;
    if (peerKey === undefined || (isFull && !this.#holders.has(peerKey))) return () => {};
    const count = this.#holders.get(peerKey) ?? 0;
    this.#holders.set(peerKey, count + 1);
    if (count === 0) this.onChange?.(peerKey, true);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      setTimeout(() => this.#release(peerKey), this.#graceMs).unref();
    };
  }

  #release(peerKey: string): void {
    const count = (this.#holders.get(peerKey) ?? 1) - 1;
    if (count > 0) {
      this.#holders.set(peerKey, count);
      return;
    }
    this.#holders.delete(peerKey);
    this.onChange?.(peerKey, false);
  }
}

/** The peer id of what another daemon says is its key; undefined if it is none. */
export function readPeerKey(publicKey: Uint8Array): string | undefined {
  try {
    return peerKeyOf(publicKey);
  } catch {
    return undefined; // another version's, or nonsense: there are other transports
  }
}
