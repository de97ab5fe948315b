import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { NODE_CERTIFICATE_NAME } from "@damselfly/transport";
import type { Extension } from "@peculiar/x509";
import { loadX509 } from "./x509.ts";

/** A certificate and its private key, as PEM texts; the key is PKCS #8. */
export interface CertificateAndKey {
  readonly cert: string;
  readonly key: string;
}

/** Signs the certificates of a cluster's nodes. Who has its key can join the cluster. */
export type Authority = CertificateAndKey;

export interface NodeNames {
  /** As the node announces it; a peer is bound to its host id by this name. */
  readonly hostname: string;
  /** IP literals it is dialled at. */
  readonly ips: readonly string[];
  /** Other names of it. */
  readonly dnsNames?: readonly string[] | undefined;
}

export interface Validity {
  /** How long from now. */
  readonly days?: number;
  /** Unix milliseconds; the present unless given. */
  readonly nowMs?: number;
}

/** A new authority: ECDSA P-256, for ten years unless told otherwise. */
export async function createAuthority(
  options: Validity & { readonly commonName?: string } = {},
): Promise<Authority> {
  const x509 = await loadX509();
  const keys = await createKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity({ days: AUTHORITY_DAYS, ...options }),
    serialNumber: createSerialNumber(),
    name: nameOf(options.commonName ?? "Damselfly CA"),
    keys,
    signingAlgorithm: ECDSA_SHA256,
    extensions: [
      // No authorities below this one.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: `${certificate.toString("pem")}\n`, key: exportKey(keys.privateKey) };
}

/**
 * A certificate for one node, good for both sides of a connection: ECDSA P-256, for a year unless told otherwise, never longer than
 * the authority's own.
 *
 * @throws {RangeError} if a name or address cannot stand in a certificate
 * @throws {TypeError} if the authority is none, cannot be read, or its key is not its own
 */
export async function issueCertificate(
  authority: Authority,
  options: NodeNames & Validity,
): Promise<CertificateAndKey> {
  const keys = await createKeys();
  const cert = await certifyKey(authority, { ...options, publicKey: keys.publicKey });
  return { cert, key: exportKey(keys.privateKey) };
}

/**
 * Another certificate for the key of a former one, which need not be at hand.
 *
 * @param options.formerCert PEM; ECDSA P-256, P-384 or RSA
 * @returns PEM
 * @throws as `issueCertificate`
 */
export async function reissueCertificate(
  authority: Authority,
  options: NodeNames & Validity & { readonly formerCert: string },
): Promise<string> {
  const { publicKey } = new X509Certificate(options.formerCert);
  return await certifyKey(authority, { ...options, publicKey: await importPublicKey(publicKey) });
}

async function certifyKey(
  authority: Authority,
  options: NodeNames & Validity & { readonly publicKey: webcrypto.CryptoKey },
): Promise<string> {
  const x509 = await loadX509();
  const signer = importAuthority(authority);
  const issuer = new x509.X509Certificate(authority.cert);
  const { publicKey } = options;
  const { notBefore, notAfter } = validity({ days: NODE_DAYS, ...options });
  const certificate = await x509.X509CertificateGenerator.create({
    notBefore,
    notAfter: notAfter < issuer.notAfter ? notAfter : issuer.notAfter,
    serialNumber: createSerialNumber(),
    subject: nameOf(options.hostname),
    issuer: issuer.subjectName,
    publicKey,
    signingKey: await signer.key,
    signingAlgorithm: signer.algorithm,
    extensions: [
      ...(await nodeExtensions(options, publicKey)),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

async function importPublicKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const bytes = key.export({ type: "spki", format: "der" });
  const algorithm = algorithmOf(key, "the certificate's key");
  return await webcrypto.subtle.importKey("spki", bytes, algorithm, true, ["verify"]);
}

const AUTHORITY_DAYS = 3650;
const NODE_DAYS = 365;
const DAY_MS = 86_400_000;
/** Clocks of a cluster differ: a certificate is good at once on a node that is an hour behind. */
const BACKDATING_MS = 3_600_000;
const ECDSA_P256 = { name: "ECDSA", namedCurve: "P-256" };
const ECDSA_SHA256 = { name: "ECDSA", hash: "SHA-256" };

async function nodeExtensions(
  { hostname, ips, dnsNames = [] }: NodeNames,
  publicKey: webcrypto.CryptoKey,
): Promise<Extension[]> {
  const x509 = await loadX509();
  for (const ip of ips) {
    if (isIP(ip) === 0)
      throw new RangeError(`Cannot make a certificate: '${ip}' is not an IP address`);
  }
  const names = new Set([hostname, NODE_CERTIFICATE_NAME, ...dnsNames]);
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([
      x509.ExtendedKeyUsage.serverAuth,
      x509.ExtendedKeyUsage.clientAuth,
    ]),
    new x509.SubjectAlternativeNameExtension([
      ...[...names].map((value) => ({ type: "dns" as const, value })),
      ...ips.map((value) => ({ type: "ip" as const, value })),
    ]),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
  ];
}

function nameOf(commonName: string): { readonly CN: string[] }[] {
  if (!/^[a-z0-9]([a-z0-9 ._-]{0,61}[a-z0-9])?$/i.test(commonName)) {
    throw new RangeError(
      `Cannot make a certificate: the name is '${commonName}', expected 1 to 63 letters, digits, dots and dashes`,
    );
  }
  return [{ CN: [commonName] }];
}

function validity({ days, nowMs = Date.now() }: Validity & { readonly days: number }): {
  readonly notBefore: Date;
  readonly notAfter: Date;
} {
  if (!(days > 0 && days <= 36_500))
    throw new RangeError(`Cannot make a certificate: ${days} days, expected 1 to 36500`);
  return {
    notBefore: new Date(nowMs - BACKDATING_MS),
    notAfter: new Date(nowMs + days * DAY_MS),
  };
}

async function createKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ECDSA_P256, true, ["sign", "verify"]);
}

/** RFC 5280, section 4.1.2.2: positive, at most 20 bytes, and not to be guessed. */
function createSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function exportKey(key: webcrypto.CryptoKey): string {
  return String(KeyObject.from(key).export({ type: "pkcs8", format: "pem" }));
}

/** The signing key of an authority, ours or one that openssl made. */
function importAuthority(authority: Authority): {
  readonly key: Promise<webcrypto.CryptoKey>;
  readonly algorithm: { readonly name: string; readonly hash: string };
} {
  const certificate = read("certificate", () => new X509Certificate(authority.cert));
  const key = read("key", () => createPrivateKey(authority.key));
  if (!certificate.ca)
    throw new TypeError(
      "Cannot issue a certificate: the authority's certificate is not one of an authority",
    );
  if (!certificate.checkPrivateKey(key))
    throw new TypeError(
      "Cannot issue a certificate: the authority's key is not that of its certificate",
    );
  const algorithm = algorithmOf(key, "the authority's key");
  const bytes = key.export({ type: "pkcs8", format: "der" });
  return { key: webcrypto.subtle.importKey("pkcs8", bytes, algorithm, false, ["sign"]), algorithm };
}

/** What WebCrypto calls a key's kind. */
function algorithmOf(
  key: KeyObject,
  what: string,
): { readonly name: string; readonly hash: string; readonly namedCurve?: string } {
  const namedCurve = CURVES.get(key.asymmetricKeyDetails?.namedCurve ?? "");
  if (namedCurve !== undefined) return { ...ECDSA_SHA256, namedCurve };
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType;
  throw new TypeError(
    `Cannot issue a certificate: ${what} is ${kind}, expected ECDSA P-256, P-384 or RSA`,
  );
}

/** Without the cause for a key: OpenSSL's errors could quote what they were given. */
function read<Value>(what: string, parse: () => Value): Value {
  try {
    return parse();
  } catch {
    throw new TypeError(`Cannot issue a certificate: the authority's ${what} cannot be read`);
  }
}

const CURVES: ReadonlyMap<string, string> = new Map([
  ["prime256v1", "P-256"],
  ["secp384r1", "P-384"],
]);
