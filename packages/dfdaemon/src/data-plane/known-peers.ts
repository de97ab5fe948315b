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
  readonly peerKey: string;
  /** Among those of its key. */
  readonly name: string;
  /** Which certificate it is. */
  readonly certificate: string;
  readonly certificates: CertificateChain;
  /** The authorities at that time. */
  readonly caCert: string | undefined;
  streamCount: number;
  /** When the last stream has ended; by a clock that does not run backwards. */
  idleSinceMs: number;
}

/**
 * The keys that may dial our quinn port: those of children whose control stream runs, and for a while afterwards, as long as
 * the certificate that the child showed there is trusted. With `COUNT_MAX` of them one more is not let in, and uses another
 * transport; so does one more under a certificate that has half of them.
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
  /** How many keys each certificate speaks for. */
  readonly #keyCounts = new Map<string, number>();
  /** Without a stream, the one that has none for longest first. */
  readonly #idle = new Set<Witness>();
  /** Runs while there are such: one for all, as calls may come and go by the hundred a second. */
  #timer: NodeJS.Timeout | undefined;
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
    const caCert = this.#tls?.current.caCert;
    const certificate = digestOf(certificates.slice(0, 1));
    const name = digestOf([...certificates.slice(0, 1), Buffer.from(caCert ?? "")]);
    let witness = witnesses.get(name);
    if (witness === undefined) {
      const isFull = this.#witnesses.size >= this.#countMax;
      if ((isFull && witnesses.size === 0) || this.#hasItsShare(certificate)) return () => {};
      const whose = { peerKey, name, certificate, certificates, caCert };
      witness = { ...whose, streamCount: 0, idleSinceMs: 0 };
      this.#witnesses.set(peerKey, witnesses.set(name, witness));
      this.#keyCounts.set(certificate, (this.#keyCounts.get(certificate) ?? 0) + 1);
    }
    witness.streamCount += 1;
    this.#idle.delete(witness);
    this.#tell(peerKey);
    const admitted = witness;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#release(admitted);
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

  /** Without TLS nobody shows a certificate. */
  #hasItsShare(certificate: string): boolean {
    const count = this.#keyCounts.get(certificate) ?? 0;
    return this.#tls !== undefined && count >= Math.ceil(this.#countMax / 2);
  }

  #release(witness: Witness): void {
    witness.streamCount -= 1;
    if (witness.streamCount > 0) return;
    witness.idleSinceMs = performance.now();
    this.#idle.add(witness);
    if (this.#timer === undefined) this.#sweepIn(this.#graceMs);
  }

  #sweepIn(delayMs: number): void {
    this.#timer = setTimeout(() => this.#sweep(), delayMs).unref();
  }

  /** Forgets whose time is over, and comes again when it is the next one's turn. */
  #sweep(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const witness of this.#idle) {
      const restMs = witness.idleSinceMs + this.#graceMs - nowMs;
      if (restMs > 0) {
        this.#sweepIn(Math.ceil(restMs));
        return;
      }
      this.#forget(witness);
    }
  }

  #forget(witness: Witness): void {
    const { peerKey, name, certificate } = witness;
    this.#idle.delete(witness);
    const witnesses = this.#witnesses.get(peerKey);
    witnesses?.delete(name);
    if (witnesses?.size === 0) this.#witnesses.delete(peerKey);
    const rest = (this.#keyCounts.get(certificate) ?? 1) - 1;
    if (rest > 0) this.#keyCounts.set(certificate, rest);
    else this.#keyCounts.delete(certificate);
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
