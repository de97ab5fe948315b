import { KeyObject, webcrypto, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type PeerCertificate } from "node:tls";
import { loadQuiche, openQuicEndpoint } from "@damselfly/quic";
import { describe, expect, it } from "vitest";
import {
  createAuthority,
  issueCertificate,
  type Authority,
  type CertificateAndKey,
} from "./certificates.ts";
import { loadX509 } from "./x509.ts";

const quicWorks = await loadQuiche().then(
  () => true,
  () => false,
);
const DAY_MS = 86_400_000;
const NODE = { hostname: "node-1", ips: ["127.0.0.1", "2001:db8::1"] };

/** Both sides show a certificate and check the other's; resolves to what the client saw, or rejects with what stopped it. */
async function shakeHands(
  server: { readonly ca: string; readonly identity: CertificateAndKey },
  client: { readonly ca: string; readonly identity?: CertificateAndKey; readonly name?: string },
): Promise<PeerCertificate> {
  const listener = createServer(
    {
      ...server.identity,
      ca: server.ca,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
    },
    (socket) => {
      socket.on("error", () => {});
      socket.write("hello");
    },
  );
  listener.on("tlsClientError", () => {});
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const socket = connect({
    ...client.identity,
    ca: client.ca,
    port: address.port,
    host: "127.0.0.1",
    ...(client.name === undefined ? {} : { servername: client.name }),
  });
  try {
    return await new Promise((resolve, reject) => {
      // With TLS 1.3 the server's verdict on the client comes after the handshake: only its greeting says yes.
      socket.once("data", () => resolve(socket.getPeerCertificate()));
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed without an alert")));
    });
  } finally {
    socket.destroy();
    listener.close();
  }
}

/** An authority as other tools make them. */
async function createForeignAuthority(
  algorithm: webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams,
): Promise<Authority> {
  const x509 = await loadX509();
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Foreign, O=Elsewhere",
    keys,
    signingAlgorithm: { hash: "SHA-256", ...algorithm },
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    extensions: [new x509.BasicConstraintsExtension(true)],
  });
  const key = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" });
  return { cert: certificate.toString("pem"), key: String(key) };
}

describe("createAuthority", () => {
  it("makes a P-256 authority that may sign certificates and nothing else, for ten years", async () => {
    const authority = await createAuthority({ commonName: "Test CA" });
    const certificate = new X509Certificate(authority.cert);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe("CN=Test CA");
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
    expect(authority.key).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const days = (Date.parse(certificate.validTo) - Date.now()) / DAY_MS;
    expect(days).toBeGreaterThan(3640);
    expect(days).toBeLessThan(3660);
  });

  it("never gives two authorities one serial number", async () => {
    const [one, two] = await Promise.all([createAuthority(), createAuthority()]);
    expect(new X509Certificate(one.cert).serialNumber).not.toBe(
      new X509Certificate(two.cert).serialNumber,
    );
  });
});

describe("issueCertificate", () => {
  it("names the host, d7y and every address, for servers and clients", async () => {
    const authority = await createAuthority();
    const node = await issueCertificate(authority, NODE);
    const certificate = new X509Certificate(node.cert);
    expect(certificate.subjectAltName).toBe(
      "DNS:node-1, DNS:d7y, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1",
    );
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(certificate.checkIssued(new X509Certificate(authority.cert))).toBe(true);
    expect(certificate.verify(new X509Certificate(authority.cert).publicKey)).toBe(true);
    expect(certificate.checkHost("node-1")).toBe("node-1");
    expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
  });

  it.each([
    [
      "RSA",
      {
        name: "RSASSA-PKCS1-v1_5",
        hash: "SHA-256",
        modulusLength: 2048,
        publicExponent: new Uint8Array([1, 0, 1]),
      },
    ],
    ["P-384", { name: "ECDSA", namedCurve: "P-384" }],
  ])("is signed by an %s authority that was made elsewhere", async (_, algorithm) => {
    const authority = await createForeignAuthority(algorithm);
    const node = await issueCertificate(authority, NODE);
    const issuer = new X509Certificate(authority.cert);
    expect(new X509Certificate(node.cert).verify(issuer.publicKey)).toBe(true);
    await shakeHands(
      { ca: authority.cert, identity: node },
      { ca: authority.cert, identity: node },
    );
  });

  it("refuses an authority with a key of another kind", async () => {
    const authority = await createForeignAuthority({ name: "ECDSA", namedCurve: "P-521" });
    await expect(issueCertificate(authority, NODE)).rejects.toThrow(
      "the authority's key is secp521r1, expected ECDSA P-256, P-384 or RSA",
    );
  });

  it("is never good for longer than its authority", async () => {
    const authority = await createAuthority({ days: 10 });
    const node = await issueCertificate(authority, { ...NODE, days: 100 });
    expect(new X509Certificate(node.cert).validTo).toBe(
      new X509Certificate(authority.cert).validTo,
    );
  });

  it("is good on a node whose clock is behind", async () => {
    const authority = await createAuthority();
    const node = await issueCertificate(authority, NODE);
    expect(Date.parse(new X509Certificate(node.cert).validFrom)).toBeLessThan(
      Date.now() - 3_500_000,
    );
  });

  it("lets two nodes of one authority trust each other, by address and by d7y", async () => {
    const authority = await createAuthority();
    const [one, two] = await Promise.all([
      issueCertificate(authority, NODE),
      issueCertificate(authority, { hostname: "node-2", ips: ["127.0.0.1"] }),
    ]);
    const server = { ca: authority.cert, identity: one };
    const seen = await shakeHands(server, { ca: authority.cert, identity: two });
    expect(seen.subject.CN).toBe("node-1");
    await shakeHands(server, { ca: authority.cert, identity: two, name: "d7y" });
  });

  it.runIf(quicWorks)("lets two nodes of one authority trust each other over QUIC", async () => {
    const [ours, theirs] = await Promise.all([createAuthority(), createAuthority()]);
    const one = { caCert: ours.cert, ...(await issueCertificate(ours, NODE)) };
    const two = { caCert: ours.cert, ...(await issueCertificate(ours, NODE)) };
    const common = { address: { ip: "127.0.0.1", port: 0 }, alpn: "test" };
    const server = await openQuicEndpoint({ ...common, tls: one, accept: () => {} });
    const client = await openQuicEndpoint({ ...common, tls: two });
    const stranger = await openQuicEndpoint({ ...common, tls: { ...two, caCert: theirs.cert } });
    try {
      const connection = await client.dial(server.address, { serverName: "node-1" });
      expect(connection.peerCertificates).toHaveLength(1);
      await client.dial(server.address, { serverName: "d7y" });
      await expect(stranger.dial(server.address)).rejects.toMatchObject({ code: "ERR_UNTRUSTED" });
    } finally {
      await Promise.all(
        [client, server, stranger].map((endpoint) => endpoint[Symbol.asyncDispose]()),
      );
    }
  });

  it("is refused under another name", async () => {
    const authority = await createAuthority();
    const node = await issueCertificate(authority, NODE);
    await expect(
      shakeHands(
        { ca: authority.cert, identity: node },
        { ca: authority.cert, identity: node, name: "node-2" },
      ),
    ).rejects.toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
  });

  it("is refused by a client that trusts another authority", async () => {
    const [ours, theirs] = await Promise.all([createAuthority(), createAuthority()]);
    const node = await issueCertificate(ours, NODE);
    await expect(
      shakeHands({ ca: ours.cert, identity: node }, { ca: theirs.cert, identity: node }),
    ).rejects.toThrow(/unable to verify|self-signed|signature failure/);
  });

  it("is refused by a server that trusts another authority, as is no certificate at all", async () => {
    const [ours, theirs] = await Promise.all([createAuthority(), createAuthority()]);
    const [node, stranger] = await Promise.all([
      issueCertificate(ours, NODE),
      issueCertificate(theirs, NODE),
    ]);
    const server = { ca: ours.cert, identity: node };
    await expect(shakeHands(server, { ca: ours.cert, identity: stranger })).rejects.toThrow(
      /alert|ECONNRESET/i,
    );
    await expect(shakeHands(server, { ca: ours.cert })).rejects.toThrow(/alert|ECONNRESET/);
  });

  it.each([
    ["a hostname with a comma", { hostname: "a,CN=b", ips: [] }],
    ["an empty hostname", { hostname: "", ips: [] }],
    ["an address that is none", { hostname: "a", ips: ["localhost"] }],
    ["no days", { hostname: "a", ips: [], days: 0 }],
  ])("refuses %s", async (_, options) => {
    await expect(issueCertificate(await createAuthority(), options)).rejects.toThrow(RangeError);
  });

  it("refuses an authority that is none, or has another's key", async () => {
    const [one, two] = await Promise.all([createAuthority(), createAuthority()]);
    const node = await issueCertificate(one, NODE);
    await expect(issueCertificate(node, NODE)).rejects.toThrow("not one of an authority");
    await expect(issueCertificate({ cert: one.cert, key: two.key }, NODE)).rejects.toThrow(
      "not that of its certificate",
    );
  });
});
