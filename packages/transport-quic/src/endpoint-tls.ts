import type { QuicEndpoint, QuicLogger, QuicPeer, QuicPeerRefusal, QuicTls } from "@damselfly/quic";
import {
  NODE_CERTIFICATE_NAME,
  type PeerFault,
  type PeerRefusal,
  type PeerTrust,
  RefusalLog,
  type TlsIdentity,
  type TlsSource,
  trustOf,
} from "@damselfly/transport";

/** What a peer is told of what speaks against it (RFC 8446, section 6.2). */
const ALERTS: Readonly<Record<PeerFault, number>> = {
  missing: 116,
  unreadable: 42,
  revoked: 44,
  expired: 45,
  "not yet valid": 45,
  "wrong usage": 43,
  "wrong name": 42,
  "unknown authority": 48,
};

/** Longer than a handshake takes: one that began under other authorities may end after they were changed. Milliseconds. */
const CHANGE_MS = 120_000;

/** How often peers that are known by keys are looked at again, without an occasion. Milliseconds. */
const RECHECK_MS = 15_000;

/** What an endpoint needs of an identity that changes, or of none. */
export class EndpointTls {
  readonly #source: TlsSource | undefined;
  readonly #hasKeys: boolean;
  readonly #logger: QuicLogger | undefined;
  readonly #refusals: RefusalLog;
  #authorities: string | undefined;
  /** What the endpoint was last given. */
  #given: TlsIdentity | undefined;
  #authoritiesChangedAtMs = Number.NEGATIVE_INFINITY;

  /** @param options.hasKeys the endpoint's backend knows its peers by keys, for which others vouch */
  constructor(
    source: TlsSource | undefined,
    options: { readonly hasKeys: boolean; readonly logger: QuicLogger | undefined },
  ) {
    this.#source = source;
    this.#hasKeys = options.hasKeys;
    this.#logger = options.logger;
    this.#refusals = new RefusalLog(options.logger);
    this.#authorities = source?.current.caCert;
  }

  /** For opening an endpoint. */
  get current(): QuicTls | "insecure" {
    return this.#source === undefined ? "insecure" : this.#toQuicTls(this.#source.current);
  }

  /**
   * Keeps an endpoint to what the source says.
   *
   * @returns what ends it
   */
  follow(endpoint: QuicEndpoint): () => void {
    const source = this.#source;
    if (this.#hasKeys) {
      const timer = setInterval(() => endpoint.recheckPeers(), RECHECK_MS).unref();
      const unlisten = source?.onChange(() => endpoint.recheckPeers());
      return () => {
        clearInterval(timer);
        unlisten?.();
      };
    }
    if (source === undefined) return () => {};
    const update = (): void => {
      try {
        endpoint.useTls(this.#toQuicTls(source.current));
      } catch (error) {
        const what = "Cannot use a new certificate over QUIC: the former one stays in use";
        this.#logger?.warn({ err: error }, what);
        // Who has been revoked with it is out all the same.
        endpoint.recheckPeers();
      }
    };
    // It may have changed while the endpoint was being opened.
    if (source.current !== this.#given) update();
    return source.onChange(update);
  }

  #toQuicTls(identity: TlsIdentity): QuicTls {
    this.#given = identity;
    const { caCert, cert, key } = identity;
    if (caCert !== this.#authorities) this.#authoritiesChangedAtMs = Date.now();
    this.#authorities = caCert;
    // What the source says at that time: this identity may stay in use when the endpoint cannot take the next one.
    const checkPeer = (peer: QuicPeer): QuicPeerRefusal | undefined =>
      this.#check(peer, trustOf(this.#source?.current ?? identity));
    return { caCert, cert, key, checkPeer };
  }

  #check(peer: QuicPeer, trust: PeerTrust): QuicPeerRefusal | undefined {
    const { certificates, isDialled } = peer;
    const refusal =
      trust.refusalOf(certificates, {
        isDialled,
        // The binding has checked whom we have dialled.
        names: isDialled ? undefined : [NODE_CERTIFICATE_NAME],
        nowMs: Date.now(),
      }) ?? this.#authorityRefusal(peer, trust);
    if (refusal === undefined) return undefined;
    this.#refusals.say("A peer is refused over QUIC", refusal, undefined);
    return { alert: ALERTS[refusal.fault], reason: refusal.reason };
  }

  #authorityRefusal({ certificates }: QuicPeer, trust: PeerTrust): PeerRefusal | undefined {
    const isJustChanged = Date.now() - this.#authoritiesChangedAtMs < CHANGE_MS;
    if (!isJustChanged || trust.vouchesFor(certificates)) return undefined;
    return {
      fault: "unknown authority",
      reason: "the authority of its certificate is not trusted any more",
    };
  }
}
