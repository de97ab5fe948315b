import { X509Certificate } from "node:crypto";
import { isIPv6 } from "node:net";
import type { QuicConnection, QuicDialOptions, QuicEndpoint } from "@damselfly/quic";
import { TransportError, type TlsIdentity } from "@damselfly/transport";
import { ALPN } from "./codes.ts";
import { type EndpointTuning, openerOf, tuningOf } from "./endpoint-tuning.ts";

/** A parent's QUIC port, and who is expected behind it. */
export interface Target {
  readonly ip: string;
  readonly port: number;
  /** The name its certificate must carry beside the common one; undefined: any. */
  readonly hostname: string | undefined;
  /** The key it must hold, where the endpoint's backend knows its peers by keys and not by certificates. */
  readonly peerKey?: string | undefined;
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
  readonly tls: TlsIdentity | undefined;
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

  constructor(options: DiallerOptions) {
    this.#options = options;
  }

  /**
   * @throws {QuicError}
   * @throws {TransportError} `ERR_PARENT_UNTRUSTED` if somebody else answers
   */
  async dial(target: Target, how: DialWish): Promise<Dialled> {
    const { ip, port, peerKey } = target;
    const endpoint = await this.#endpointFor(isIPv6(ip) ? "::" : "0.0.0.0");
    const timeoutMs = this.#options.connectMs;
    const connection = await endpoint.dial({ ip, port }, { ...how, timeoutMs, peerKey });
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

  async [Symbol.asyncDispose](): Promise<void> {
    const endpoints = await Promise.allSettled(this.#endpoints.values());
    for (const opened of endpoints) {
      if (opened.status === "fulfilled") await opened.value[Symbol.asyncDispose]();
    }
  }

  async #endpointFor(family: Family): Promise<QuicEndpoint> {
    const { tls, idleTimeoutMs, deadAfterMs, connectionCountMax, earlyData } = this.#options;
    let opening = this.#endpoints.get(family);
    if (opening === undefined) {
      opening = openerOf(this.#options)({
        ...tuningOf(this.#options),
        address: { ip: family, port: 0 },
        alpn: ALPN,
        tls: tls ?? "insecure",
        idleTimeoutMs,
        deadAfterMs,
        ...(earlyData ? { earlyData } : {}),
        limits: { connectionCountMax, streamCountMax: 0 },
      });
      this.#endpoints.set(family, opening);
    }
    try {
      return await opening;
    } catch (error) {
      this.#endpoints.delete(family); // what failed now may work later
      throw error;
    }
  }
}

function names(certificate: Uint8Array | undefined, hostname: string): boolean {
  if (certificate === undefined) return false;
  const options = { subject: "never", wildcards: false } as const;
  return new X509Certificate(certificate).checkHost(hostname, options) !== undefined;
}
