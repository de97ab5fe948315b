/**
 * Certificates for tests, as `dfdaemon certs` makes them: an authority, and nodes that it vouches for. Exported as
 * "@damselfly/rpc/testing".
 */
// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 wants it loaded before itself
import "reflect-metadata";
import type { TlsIdentity } from "@damselfly/transport";
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type JsonGeneralName,
} from "@peculiar/x509";
import { webcrypto } from "node:crypto";
import { NODE_CERTIFICATE_NAME } from "./tls.ts";

/** A certificate authority of its own: nodes of two of them do not trust each other. */
export interface TestAuthority {
  readonly caCert: string;
  /** By default a node carries `d7y` and 127.0.0.1, and is valid for an hour. */
  issue(options?: {
    readonly dnsNames?: readonly string[];
    readonly ips?: readonly string[];
    readonly validUntil?: Date;
  }): Promise<TlsIdentity>;
}

export async function createTestAuthority(): Promise<TestAuthority> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      ...validity(),
      name: "CN=Test authority",
      keys,
      signingAlgorithm,
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    },
    webcrypto,
  );
  const caCert = certificate.toString("pem");
  return {
    caCert,
    async issue({ dnsNames = [NODE_CERTIFICATE_NAME], ips = ["127.0.0.1"], validUntil } = {}) {
      const nodeKeys = await generateKeys();
      const names: JsonGeneralName[] = [
        ...dnsNames.map((value) => ({ type: "dns", value }) as const),
        ...ips.map((value) => ({ type: "ip", value }) as const),
      ];
      const leaf = await X509CertificateGenerator.create(
        {
          ...validity(validUntil),
          subject: "CN=Test node",
          issuer: certificate.subject,
          publicKey: nodeKeys.publicKey,
          signingKey: keys.privateKey,
          signingAlgorithm,
          extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
        },
        webcrypto,
      );
      return { caCert, cert: leaf.toString("pem"), key: await privateKeyPem(nodeKeys.privateKey) };
    },
  };
}

const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" };
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" };

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").replaceAll(/.{64}/g, "$&\n");
  return `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
}

/** From an hour ago, for clocks that disagree; by default for two hours. */
function validity(validUntil?: Date): { notBefore: Date; notAfter: Date } {
  const hourMs = 3_600_000;
  const notAfter = validUntil ?? new Date(Date.now() + hourMs);
  return { notBefore: new Date(Date.now() - hourMs), notAfter };
}
