/**
 * Certificates for tests, as `dfdaemon certs` makes them or with a fault: an authority, and nodes that it vouches for.
 * Exported as "@damselfly/transport/testing".
 */
// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 wants it loaded before itself
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { NODE_CERTIFICATE_NAME, type TlsIdentity } from "./tls/tls-identity.ts";

export interface TestNodeOptions {
  /** Default `d7y`. */
  readonly dnsNames?: readonly string[] | undefined;
  /** Default 127.0.0.1. */
  readonly ips?: readonly string[] | undefined;
  /** Default an hour ago, for clocks that disagree. */
  readonly validFrom?: Date | undefined;
  /** Default in an hour. */
  readonly validUntil?: Date | undefined;
  /** What it is for, as its extended key usage says; default: it does not say. */
  readonly usages?: readonly ("server" | "client")[] | undefined;
  /** Whether its key may sign, as its key usage says; default: it does not say. */
  readonly maySign?: boolean | undefined;
  /** Of an earlier certificate, to differ from it in nothing but the rest. */
  readonly keys?: webcrypto.CryptoKeyPair | undefined;
}

/** A certificate authority of its own: nodes of two of them do not trust each other. */
export interface TestAuthority {
  readonly caCert: string;
  issue(options?: TestNodeOptions): Promise<TlsIdentity>;
  /** An authority below this one; its nodes show its certificate behind theirs, and trust this one. */
  createIntermediate(): Promise<TestAuthority>;
}

export async function createTestAuthority(): Promise<TestAuthority> {
  const keys = await generateTestKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      ...validity({}),
      name: "CN=Test authority",
      keys,
      signingAlgorithm,
      extensions: AUTHORITY_EXTENSIONS,
    },
    webcrypto,
  );
  return authorityOf({ certificate, keys, caCert: certificate.toString("pem"), chain: [] });
}

/** A node that nobody vouches for but itself. */
export async function issueSelfSigned(options: TestNodeOptions = {}): Promise<TlsIdentity> {
  const keys = options.keys ?? (await generateTestKeys());
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      ...validity(options),
      name: "CN=Test node",
      keys,
      signingAlgorithm,
      extensions: nodeExtensions(options),
    },
    webcrypto,
  );
  const pem = certificate.toString("pem");
  return { caCert: pem, cert: pem, key: await privateKeyPem(keys.privateKey) };
}

export function generateTestKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
}

interface Authority {
  readonly certificate: X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
  /** What its nodes trust. */
  readonly caCert: string;
  /** Between its nodes and that. */
  readonly chain: readonly X509Certificate[];
}

const AUTHORITY_EXTENSIONS = [new BasicConstraintsExtension(true, undefined, true)];

function authorityOf({ certificate, keys, caCert, chain }: Authority): TestAuthority {
  const sign = (
    subject: string,
    publicKey: webcrypto.CryptoKey,
    more: { readonly notBefore: Date; readonly notAfter: Date; readonly extensions: Extension[] },
  ): Promise<X509Certificate> =>
    X509CertificateGenerator.create(
      {
        ...more,
        subject,
        issuer: certificate.subject,
        publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm,
      },
      webcrypto,
    );
  return {
    caCert,
    async issue(options = {}) {
      const nodeKeys = options.keys ?? (await generateTestKeys());
      const leaf = await sign("CN=Test node", nodeKeys.publicKey, {
        ...validity(options),
        extensions: nodeExtensions(options),
      });
      const cert = [leaf, ...chain].map((one) => one.toString("pem")).join("\n");
      return { caCert, cert, key: await privateKeyPem(nodeKeys.privateKey) };
    },
    async createIntermediate() {
      const lowerKeys = await generateTestKeys();
      const lower = await sign("CN=Test intermediate", lowerKeys.publicKey, {
        ...validity({}),
        extensions: AUTHORITY_EXTENSIONS,
      });
      return authorityOf({
        certificate: lower,
        keys: lowerKeys,
        caCert,
        chain: [lower, ...chain],
      });
    },
  };
}

function nodeExtensions({
  dnsNames = [NODE_CERTIFICATE_NAME],
  ips = ["127.0.0.1"],
  usages,
  maySign,
}: TestNodeOptions): Extension[] {
  const names: JsonGeneralName[] = [
    ...dnsNames.map((value) => ({ type: "dns", value }) as const),
    ...ips.map((value) => ({ type: "ip", value }) as const),
  ];
  const purposes = { server: ExtendedKeyUsage.serverAuth, client: ExtendedKeyUsage.clientAuth };
  const { digitalSignature, keyEncipherment } = KeyUsageFlags;
  return [
    ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
    ...(usages === undefined
      ? []
      : [new ExtendedKeyUsageExtension(usages.map((usage) => purposes[usage]))]),
    ...(maySign === undefined
      ? []
      : [new KeyUsagesExtension(maySign ? digitalSignature : keyEncipherment, true)]),
  ];
}

const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" };
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" };

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").replaceAll(/.{64}/g, "$&\n");
  return `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
}

const HOUR_MS = 3_600_000;

function validity({
  validFrom = new Date(Date.now() - HOUR_MS),
  validUntil = new Date(Date.now() + HOUR_MS),
}: TestNodeOptions): { notBefore: Date; notAfter: Date } {
  return { notBefore: validFrom, notAfter: validUntil };
}
