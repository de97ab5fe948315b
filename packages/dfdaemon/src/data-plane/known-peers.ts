import { createHash } from "node:crypto";
import { peerKeyOf } from "@damselfly/quinn";
import {
  type CertificateChain,
  type Tls,
  type TlsSource,
  toTlsSource,
  trustOf,
} from "@damselfly/transport";

/** A child's control stream ends when it has heard of every piece; fetching them takes longer. */
const GRACE_MS = 3_600_000;
const COUNT_MAX = 10_000;

/** Control streams that speak for a key under one certificate. */
interface Witness {
  readonly certificates: CertificateChain;
  /** The authorities at that time. */
  readonly caCert: string | undefined;
  streamCount: number;
}

/**
 * The keys that may dial our quinn port: those of children whose control stream runs, and for a while afterwards, as long as
 * the certificate that the child showed there is trusted. With `COUNT_MAX` of them one more is not let in, and uses another
 * transport.
 */
export class KnownPeers {
  /** Called when a key may dial from now on, and when it is found that it may not any more: see `review`. */
  onChange: ((peerKey: string, isKnown: boolean) => void) | undefined;
  readonly #graceMs: number;
  readonly #countMax: number;
  readonly #tls: TlsSource | undefined;
  readonly #now: () => number;
  /** By key, then by certificate and authorities. */
  readonly #witnesses = new Map<string, Map<string, Witness>>();
  /** Keys of which it was last told that they may dial. */
  readonly #told = new Set<string>();

  /** @param options.tls with it a key counts only with certificates beside it */
  constructor(
    options: {
      readonly graceMs?: number;
      readonly countMax?: number;
      readonly tls?: Tls | undefined;
      /** Milliseconds since 1970; default the system's clock. */
      readonly now?: () => number;
    } = {},
  ) {
    const { graceMs = GRACE_MS, countMax = COUNT_MAX, tls, now = Date.now } = options;
    this.#graceMs = graceMs;
    this.#countMax = countMax;
    this.#tls = tls && toTlsSource(tls);
    this.#now = now;
  }

  get count(): number {
    return this.#witnesses.size;
  }

  /** Those that may dial at this moment. */
  get peerKeys(): readonly string[] {
    return [...this.#witnesses.keys()].filter((peerKey) => this.has(peerKey));
  }

  has(peerKey: string): boolean {
    const witnesses = this.#witnesses.get(peerKey)?.values() ?? [];
    return [...witnesses].some((witness) => this.#isTrusted(witness));
  }

  /**
   * Lets the holder of a key in, until some time after the returned function is called. What is no key changes nothing.
   *
   * @param publicKey as libp2p encodes it, from a channel that is trusted
   * @param certificates as shown on that channel
   */
  admit(publicKey: Uint8Array, certificates: CertificateChain = []): () => void {
    const peerKey = readPeerKey(publicKey);
    if (peerKey === undefined) return () => {};
    const witnesses = this.#witnesses.get(peerKey) ?? new Map<string, Witness>();
    const isFull = this.#witnesses.size >= this.#countMax;
    if (isFull && witnesses.size === 0) return () => {};
    this.#witnesses.set(peerKey, witnesses);
    const caCert = this.#tls?.current.caCert;
    const name = digestOf([...certificates.slice(0, 1), Buffer.from(caCert ?? "")]);
    const witness = witnesses.get(name) ?? { certificates, caCert, streamCount: 0 };
    witness.streamCount += 1;
    witnesses.set(name, witness);
    this.#tell(peerKey);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      setTimeout(() => this.#release(peerKey, name), this.#graceMs).unref();
    };
  }

  /** Looks at all of them again: `tls` may have changed, and certificates may have expired. */
  review(): void {
    for (const peerKey of this.#witnesses.keys()) this.#tell(peerKey);
  }

  #tell(peerKey: string): void {
    const isKnown = this.has(peerKey);
    if (isKnown === this.#told.has(peerKey)) return;
    if (isKnown) this.#told.add(peerKey);
    else this.#told.delete(peerKey);
    this.onChange?.(peerKey, isKnown);
  }

  #isTrusted({ certificates, caCert }: Witness): boolean {
    if (this.#tls === undefined) return true;
    const { current } = this.#tls;
    const trust = trustOf(current);
    const refusal = trust.refusalOf(certificates, { isDialled: false, nowMs: this.#now() });
    return refusal === undefined && (caCert === current.caCert || trust.vouchesFor(certificates));
  }

  #release(peerKey: string, name: string): void {
    const witnesses = this.#witnesses.get(peerKey);
    const witness = witnesses?.get(name);
    if (witnesses === undefined || witness === undefined) return;
    witness.streamCount -= 1;
    if (witness.streamCount === 0) witnesses.delete(name);
    if (witnesses.size === 0) this.#witnesses.delete(peerKey);
    this.#tell(peerKey);
  }
}

function digestOf(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("base64");
}

/** The peer id of what another daemon says is its key; undefined if it is none. */
export function readPeerKey(publicKey: Uint8Array): string | undefined {
  try {
    return peerKeyOf(publicKey);
  } catch {
    return undefined; // another version's, or nonsense: there are other transports
  }
}
