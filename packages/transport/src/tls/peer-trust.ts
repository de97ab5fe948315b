import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { parseCertificate } from "./parse-certificate.ts";
import { formatSerial, NODE_CERTIFICATE_NAME, type TlsIdentity } from "./tls-identity.ts";

/** Certificates as a peer showed them, DER, leaf first. Plain data. Of a resumed connection only the leaf may be known. */
export type CertificateChain = readonly Uint8Array[];

export type PeerFault =
  | "missing"
  | "unreadable"
  | "revoked"
  | "expired"
  | "not yet valid"
  | "wrong usage"
  | "wrong name"
  | "unknown authority";

/** Why a peer is not trusted. */
export interface PeerRefusal {
  readonly fault: PeerFault;
  /** The second half of a sentence, as in `its certificate (n3, serial 5A…) is revoked`. */
  readonly reason: string;
}

export interface PeerExpectation {
  /** Whether we have dialled it, so that its certificate must be one for servers; or it us, one for clients. */
  readonly isDialled: boolean;
  /** Hostnames and IPs of which its certificate must name one; absent: what it names is not looked at. */
  readonly names?: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/**
 * What the certificate of a node that is dialled must name: its hostname where that is known, else the IP dialled or
 * the name that every node carries.
 */
export function namesOf(node: {
  readonly ip: string;
  readonly hostname?: string | undefined;
}): readonly string[] {
  const { ip, hostname } = node;
  return hostname === undefined ? [ip, NODE_CERTIFICATE_NAME] : [hostname];
}

/**
 * What an identity makes of others. The handshake checks the chain, dates, usage and, of who is dialled, a name. This
 * checks again what a resumed handshake skips, and what only we know: which are revoked, and whether it is a node at all.
 */
export class PeerTrust {
  readonly #revoked: ReadonlySet<string>;
  readonly #caCert: string;
  #authorities: readonly X509Certificate[] | undefined;

  constructor(identity: Pick<TlsIdentity, "caCert" | "revoked">) {
    this.#revoked = new Set(identity.revoked?.map(formatSerial));
    this.#caCert = identity.caCert;
  }

  /** Undefined: nothing speaks against it, provided that a handshake has found it good. */
  refusalOf(chain: CertificateChain, expected: PeerExpectation): PeerRefusal | undefined {
    const certificates = parseChain(chain);
    if (certificates === undefined) return UNREADABLE;
    const [leaf] = certificates;
    if (leaf === undefined) return MISSING;
    const revoked = certificates.find((one) => this.#revoked.has(formatSerial(one.serialNumber)));
    if (revoked !== undefined)
      return { fault: "revoked", reason: `${describeCertificate(revoked)} is revoked` };
    return (
      dateRefusal(leaf, expected.nowMs) ??
      usageRefusal(leaf, expected.isDialled) ??
      nameRefusal(leaf, expected.names)
    );
  }

  /** Whether an authority that is trusted vouches for the leaf, over those between them, each after the one it has issued. */
  vouchesFor(chain: CertificateChain): boolean {
    const [leaf, ...others] = parseChain(chain) ?? [];
    this.#authorities ??= parseAuthorities(this.#caCert);
    let lower = leaf;
    while (lower !== undefined) {
      const below = lower;
      if (this.#authorities.some((authority) => hasIssued(authority, below))) return true;
      const upper = others.shift();
      lower = upper !== undefined && hasIssued(upper, below) ? upper : undefined;
    }
    return false;
  }
}

/** What an identity makes of others, made once for each: there may be thousands of connections, and of revoked certificates. */
export function trustOf(identity: TlsIdentity): PeerTrust {
  let trust = trusts.get(identity);
  if (trust === undefined) {
    trust = new PeerTrust(identity);
    trusts.set(identity, trust);
  }
  return trust;
}

const trusts = new WeakMap<TlsIdentity, PeerTrust>();

/**
 * When the leaf runs out, in milliseconds since 1970: 0 if it cannot be read, infinity if there is none.
 */
export function expiryOf([leaf]: CertificateChain): number {
  if (leaf === undefined) return Number.POSITIVE_INFINITY;
  const [certificate] = parseChain([leaf]) ?? [];
  const end = certificate === undefined ? 0 : Date.parse(certificate.validTo);
  return Number.isNaN(end) ? 0 : end;
}

/** Whose it is and which: `its certificate (n3, serial 5A3B)`. */
function describeCertificate({ subject, serialNumber }: X509Certificate): string {
  const [, name = subject.replaceAll("\n", ", ")] = /^CN=(.*)$/m.exec(subject) ?? [];
  return `its certificate (${printable(name)}, serial ${formatSerial(serialNumber)})`;
}

/** What a stranger has put into a certificate may end in our log. */
function printable(text: string, length = 64): string {
  return text.replaceAll(/\p{C}/gu, "?").slice(0, length);
}

function parseChain(chain: CertificateChain): X509Certificate[] | undefined {
  try {
    return chain.map(parseCertificate);
  } catch {
    return undefined;
  }
}

const UNREADABLE: PeerRefusal = { fault: "unreadable", reason: "its certificate cannot be read" };
const MISSING: PeerRefusal = { fault: "missing", reason: "it shows no certificate" };

/** What cannot be read as a date is out of date. */
function dateRefusal(leaf: X509Certificate, nowMs: number): PeerRefusal | undefined {
  const { validFrom, validTo } = leaf;
  const what = describeCertificate(leaf);
  if (!(Date.parse(validTo) >= nowMs))
    return { fault: "expired", reason: `${what} expired on ${validTo}` };
  if (!(Date.parse(validFrom) <= nowMs))
    return { fault: "not yet valid", reason: `${what} is not valid before ${validFrom}` };
  return undefined;
}

/** RFC 5280, section 4.2.1.12. A certificate that does not say what it is for is for everything. */
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ANY_USAGE = "2.5.29.37.0";

function usageRefusal(leaf: X509Certificate, isDialled: boolean): PeerRefusal | undefined {
  const usage: readonly string[] | undefined = leaf.keyUsage;
  const wanted = isDialled ? SERVER_AUTH : CLIENT_AUTH;
  if (usage === undefined || usage.includes(wanted) || usage.includes(ANY_USAGE)) return undefined;
  const kind = isDialled ? "servers (serverAuth)" : "clients (clientAuth)";
  return { fault: "wrong usage", reason: `${describeCertificate(leaf)} is not one for ${kind}` };
}

function nameRefusal(
  leaf: X509Certificate,
  names: readonly string[] | undefined,
): PeerRefusal | undefined {
  if (names === undefined || names.some((name) => isNamed(leaf, name))) return undefined;
  const named = printable(leaf.subjectAltName ?? "", 256) || "nothing";
  const wanted = names.join(" or ");
  return {
    fault: "wrong name",
    reason: `${describeCertificate(leaf)} names ${named}, expected ${wanted}`,
  };
}

/** Without alternative names the common name would be looked at, which says nothing here. */
function isNamed(leaf: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return leaf.checkIP(name) !== undefined;
  return leaf.checkHost(name, { subject: "never" }) !== undefined;
}

function parseAuthorities(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function hasIssued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
