import {
  type CertificateChain,
  expiryOf,
  type PeerExpectation,
  type PeerRefusal,
  type PeerTrust,
  trustOf,
} from "./peer-trust.ts";
import type { TlsSource } from "./tls-source.ts";

export interface AdmittedPeersInit<Connection> {
  readonly tls: TlsSource;
  /** Whether we have dialled them, or they us. */
  readonly isDialled: boolean;
  /** A connection that was admitted is trusted no more; it counts as released. Must not throw. */
  readonly onDistrusted: (connection: Connection, refusal: PeerRefusal) => void;
  /** Milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
  /** How often it is looked whose certificates have run out, in milliseconds; default 30 000. */
  readonly sweepMs?: number | undefined;
}

/** So long after its certificate has run out a connection may still be there, at most. Milliseconds. */
const SWEEP_MS = 30_000;

/** Longer than a handshake takes: one that began under other authorities may end after they were changed. Milliseconds. */
const CHANGE_MS = 120_000;

interface Admitted {
  readonly chain: CertificateChain;
  readonly expiresAtMs: number;
}

/**
 * Connections whose peers were found to be trusted, for as long as they are: one whose certificate is revoked or whose
 * authority is trusted no more is given up at once, one whose certificate has run out within the time of a sweep.
 */
export class AdmittedPeers<Connection> implements Disposable {
  readonly #init: AdmittedPeersInit<Connection>;
  readonly #now: () => number;
  readonly #admitted = new Map<Connection, Admitted>();
  readonly #unlisten: () => void;
  #caCert: string;
  #authoritiesChangedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(init: AdmittedPeersInit<Connection>) {
    this.#init = init;
    this.#now = init.now ?? Date.now;
    this.#caCert = init.tls.current.caCert;
    this.#unlisten = init.tls.onChange(() => this.#onChange());
  }

  /** Connections in. */
  get size(): number {
    return this.#admitted.size;
  }

  get #trust(): PeerTrust {
    return trustOf(this.#init.tls.current);
  }

  /** What speaks against a peer whose handshake went well; see `PeerTrust`. */
  refusalOf(chain: CertificateChain, names?: PeerExpectation["names"]): PeerRefusal | undefined {
    const { isDialled } = this.#init;
    return this.#trust.refusalOf(chain, { isDialled, names, nowMs: this.#now() });
  }

  /**
   * Takes a connection in unless something speaks against it; `release` it when it is over.
   *
   * @param options.isResumed the chain was not shown in this handshake, and may be the leaf alone
   * @param options.isOutdated the handshake began before the last change. One that was resumed has nothing by which those between
   *   the leaf and an authority could be judged anew, so it is refused
   * @returns what speaks against it
   */
  admit(
    connection: Connection,
    chain: CertificateChain,
    options: {
      readonly names?: PeerExpectation["names"];
      readonly isResumed: boolean;
      readonly isOutdated?: boolean;
    },
  ): PeerRefusal | undefined {
    const refusal = this.refusalOf(chain, options.names);
    if (refusal !== undefined) return refusal;
    if (options.isResumed && options.isOutdated === true) return OUTDATED;
    const isJustChanged = this.#now() - this.#authoritiesChangedAtMs < CHANGE_MS;
    if (isJustChanged && !options.isResumed && !this.#trust.vouchesFor(chain))
      return UNKNOWN_AUTHORITY;
    this.#admitted.set(connection, { chain, expiresAtMs: expiryOf(chain) });
    this.#timer ??= setInterval(() => this.#sweep(), this.#init.sweepMs ?? SWEEP_MS).unref();
    return undefined;
  }

  release(connection: Connection): void {
    this.#admitted.delete(connection);
    if (this.#admitted.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  [Symbol.dispose](): void {
    this.#unlisten();
    clearInterval(this.#timer);
    this.#admitted.clear();
  }

  #onChange(): void {
    const { current } = this.#init.tls;
    const isOtherAuthority = current.caCert !== this.#caCert;
    this.#caCert = current.caCert;
    if (isOtherAuthority) this.#authoritiesChangedAtMs = this.#now();
    for (const [connection, { chain }] of this.#admitted) {
      const refusal = this.refusalOf(chain);
      if (refusal !== undefined) this.#distrust(connection, refusal);
      else if (isOtherAuthority && !this.#trust.vouchesFor(chain))
        this.#distrust(connection, UNKNOWN_AUTHORITY);
    }
  }

  #sweep(): void {
    const nowMs = this.#now();
    for (const [connection, { chain, expiresAtMs }] of this.#admitted) {
      if (expiresAtMs >= nowMs) continue;
      const refusal = this.refusalOf(chain);
      if (refusal !== undefined) this.#distrust(connection, refusal);
    }
  }

  #distrust(connection: Connection, refusal: PeerRefusal): void {
    this.release(connection);
    this.#init.onDistrusted(connection, refusal);
  }
}

const UNKNOWN_AUTHORITY: PeerRefusal = {
  fault: "unknown authority",
  reason: "the authority of its certificate is not trusted any more",
};

const OUTDATED: PeerRefusal = {
  fault: "unknown authority",
  reason: "the session that it resumes is from before a change of certificates",
};
