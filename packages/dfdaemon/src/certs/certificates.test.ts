import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type PeerCertificate } from "node:tls";
import { describe, expect, it } from "vitest";
import {
  createAuthority,
  createSelfSigned,
  issueCertificate,
  type CertificateAndKey,
} from "./certificates.ts";

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

describe("createSelfSigned", () => {
  it("makes a certificate that a client takes when it trusts that very one", async () => {
    const alone = await createSelfSigned();
    expect(new X509Certificate(alone.cert).subjectAltName).toBe("DNS:d7y");
    const named = await createSelfSigned(NODE);
    expect(new X509Certificate(named.cert).checkIP("127.0.0.1")).toBe("127.0.0.1");
    const seen = await shakeHands(
      { ca: named.cert, identity: named },
      { ca: named.cert, identity: named },
    );
    expect(seen.subject.CN).toBe("node-1");
  });
});
