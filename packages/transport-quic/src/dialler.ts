import { X509Certificate } from "node:crypto";
import { isIPv6 } from "node:net";
import type { QuicConnection, QuicDialOptions, QuicEndpoint } from "@damselfly/quic";
import {
  AdmittedPeers,
  type CertificateChain,
  TransportError,
  type TlsSource,
} from "@damselfly/transport";
import { ALPN, ConnectionCode } from "./codes.ts";
import { EndpointTls } from "./endpoint-tls.ts";
import { type EndpointTuning, openerOf, tuningOf } from "./endpoint-tuning.ts";

/** A parent's QUIC port, and who is expected behind it. */
export interface Target {
  readonly ip: string;
  readonly port: number;
  /** The name its certificate must carry beside the common one; undefined: any. */
  readonly hostname: string | undefined;
  /** The key it must hold, where the endpoint's backend knows its peers by keys and not by certificates. */
  readonly peerKey?: string | undefined;
  /** What was shown where the key was told. */
  readonly keyCertificates?: CertificateChain | undefined;
}

/** How a path is dialled, by what is known of it. */
export type DialWish = Pick<QuicDialOptions, "congestionControl" | "ticket">;

export interface Dialled {
  /** Usable, with a ticket before its handshake is over. */
  readonly connection: QuicConnection;
  /**
   * Resolves when the parent is known to be who it should be.
   *
   * Rejects with the QuicError of a failed handshake, or `ERR_PARENT_UNTRUSTED` if somebody else answers, which also
   * closes the connection; nobody has to listen.
   */
  readonly trusted: Promise<void>;
}

export interface DiallerOptions extends EndpointTuning {
  readonly tls: TlsSource | undefined;
  readonly connectMs: number;
  /** Silence under running requests that means the parent is dead. */
  readonly deadAfterMs: number;
  readonly idleTimeoutMs: number;
  readonly connectionCountMax: number;
  /** Keep tickets, and send first requests with them. */
  readonly earlyData: boolean;
}

type Family = "0.0.0.0" | "::";

/** Dials parents from one UDP port an address family, opened when first needed. */
export class Dialler implements AsyncDisposable {
  readonly #options: DiallerOptions;
  readonly #endpoints = new Map<Family, Promise<QuicEndpoint>>();
  readonly #unfollow: (() => void)[] = [];
  /** Whose keys were told under certificates. */
  readonly #keyHolders: AdmittedPeers<QuicConnection> | undefined;

  constructor(options: DiallerOptions) {
    this.#options = options;
    const { tls } = options;
    if (tls === undefined || options.openEndpoint === undefined) return;
    this.#keyHolders = new AdmittedPeers({
      tls,
      isDialled: true,
      onDistrusted: (connection, { reason }) => connection.close(ConnectionCode.Distrusted, reason),
    });
  }

  /**
   * @throws {QuicError}
   * @throws {TransportError} `ERR_PARENT_UNTRUSTED` if somebody else answers, or who told the key is trusted no more
   */
  async dial(target: Target, how: DialWish): Promise<Dialled> {
    const { ip, port, peerKey } = target;
    this.#assertKeyTrusted(target);
    const endpoint = await this.#endpointFor(isIPv6(ip) ? "::" : "0.0.0.0");
    const timeoutMs = this.#options.connectMs;
    const connection = await endpoint.dial({ ip, port }, { ...how, timeoutMs, peerKey });
    this.#admitKeyHolder(connection, target);
    const trusted = this.#checkIdentity(connection, target);
    if (connection.isEarly) trusted.catch(() => undefined); // who believes the content waits for it
    else await trusted;
    return { connection, trusted };
  }

  /** A ticket is as good as the certificate under which it was issued; but the parent may honour it or show another. */
  async #checkIdentity(connection: QuicConnection, target: Target): Promise<void> {
    const { ip, port, hostname, peerKey } = target;
    await connection.established;
    if (peerKey !== undefined) return; // the endpoint has compared it
    if (this.#options.tls === undefined || hostname === undefined) return;
    if (names(connection.peerCertificates[0], hostname)) return;
    connection.close(0);
    throw new TransportError(
      "ERR_PARENT_UNTRUSTED",
      `Cannot trust ${ip} port ${port}: its certificate does not name ${hostname}`,
    );
  }

  #assertKeyTrusted({ ip, port, keyCertificates }: Target): void {
    if (keyCertificates === undefined) return;
    const refusal = this.#keyHolders?.refusalOf(keyCertificates);
    if (refusal === undefined) return;
    throw new TransportError(
      "ERR_PARENT_UNTRUSTED",
      `Cannot trust ${ip} port ${port}: ${refusal.reason}`,
    );
  }

  #admitKeyHolder(connection: QuicConnection, { keyCertificates }: Target): void {
    if (keyCertificates === undefined) return;
    const holders = this.#keyHolders;
    const refusal = holders?.admit(connection, keyCertificates, { isResumed: true });
    if (refusal !== undefined) connection.close(ConnectionCode.Distrusted, refusal.reason);
    void connection.closed.then(() => holders?.release(connection));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keyHolders?.[Symbol.dispose]();
    for (const unfollow of this.#unfollow) unfollow();
    const endpoints = await Promise.allSettled(this.#endpoints.values());
    for (const opened of endpoints) {
      if (opened.status === "fulfilled") await opened.value[Symbol.asyncDispose]();
    }
  }

  async #endpointFor(family: Family): Promise<QuicEndpoint> {
    let opening = this.#endpoints.get(family);
    if (opening === undefined) {
      opening = this.#open(family);
      this.#endpoints.set(family, opening);
    }
    try {
      return await opening;
    } catch (error) {
      this.#endpoints.delete(family); // what failed now may work later
      throw error;
    }
  }

  async #open(family: Family): Promise<QuicEndpoint> {
    const { idleTimeoutMs, deadAfterMs, connectionCountMax, earlyData } = this.#options;
    const { openEndpoint, logger } = this.#options;
    const tls = new EndpointTls(this.#options.tls, {
      hasKeys: openEndpoint !== undefined,
      logger,
    });
    const endpoint = await openerOf(this.#options)({
      ...tuningOf(this.#options),
      address: { ip: family, port: 0 },
      alpn: ALPN,
      tls: tls.current,
      idleTimeoutMs,
      deadAfterMs,
      ...(earlyData ? { earlyData } : {}),
      limits: { connectionCountMax, streamCountMax: 0 },
    });
    if (openEndpoint === undefined) this.#unfollow.push(tls.follow(endpoint));
    return endpoint;
  }
}

function names(certificate: Uint8Array | undefined, hostname: string): boolean {
  if (certificate === undefined) return false;
  const options = { subject: "never", wildcards: false } as const;
  return new X509Certificate(certificate).checkHost(hostname, options) !== undefined;
}
