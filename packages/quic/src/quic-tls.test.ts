import { X509Certificate } from "node:crypto";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { describe, expect, it } from "vitest";
import type { QuicEndpointOptions, QuicTls } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createSelfSigned } from "./self-signed.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { LOOPBACK, withPair } from "./testing/open-pair.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

const authority = await createTestAuthority();
const stranger = await createTestAuthority();
const good = await authority.issue();

/** What a client with `client` meets at a server with `server`: in the dial, or in its first stream. */
async function meet(
  server: QuicTls | "insecure",
  client: QuicTls | "insecure",
  options: Partial<QuicEndpointOptions> = {},
): Promise<unknown> {
  const common = { address: LOOPBACK, alpn: "test" };
  const serving = await openQuicEndpoint({ ...common, tls: server, accept: serveEcho });
  const dialling = await openQuicEndpoint({ ...common, tls: client, ...options });
  try {
    const connection = await dialling.dial(serving.address);
    const stream = connection.openStream();
    await stream.end(Buffer.from("hello"));
    return (await readAll(stream)).toString();
  } catch (error) {
    return error;
  } finally {
    await dialling[Symbol.asyncDispose]();
    await serving[Symbol.asyncDispose]();
  }
}

describe("mutual TLS", () => {
  it.each([
    ["", () => false],
    [", some of their packets lost", (index: number) => index % 4 === 2],
  ])(
    "connects nodes with certificates of many packets%s",
    async (_, isLost) => {
      const dnsNames = Array.from(
        { length: 400 },
        (_name, index) => `node-${index}.cluster.example`,
      );
      const [server, client] = await Promise.all([
        authority.issue({ dnsNames: ["d7y", ...dnsNames] }),
        authority.issue({ dnsNames: ["d7y", ...dnsNames] }),
      ]);
      const network = new MemoryNetwork();
      let count = 0;
      network.onDatagram = () => !isLost(count++);
      await withPair(
        {
          both: { udp: network.open },
          server: { tls: server },
          client: { tls: client },
          dial: { timeoutMs: 60_000 },
        },
        async ({ dialled, accepted }) => {
          for (const { peerCertificates } of [dialled, accepted]) {
            expect(peerCertificates[0]?.byteLength).toBeGreaterThan(8_000);
          }
        },
      );
    },
    80_000,
  );

  it("connects two nodes of one authority, and shows each the other's certificate", async () => {
    const names = { dnsNames: ["d7y", "node-7"] };
    const client = await authority.issue(names);
    await withPair(
      { server: { tls: good }, client: { tls: client } },
      async ({ dialled, accepted }) => {
        const shown = new X509Certificate(accepted.peerCertificates[0] ?? "");
        expect(shown.subjectAltName).toContain("DNS:node-7");
        expect(dialled.peerCertificates).toHaveLength(1);
      },
    );
    expect(await meet(good, client)).toBe("hello");
  });

  it("refuses a server of another authority", async () => {
    const trusting = { ...good, caCert: createSelfSigned().cert };
    expect(await meet(good, trusting)).toMatchObject({
      code: "ERR_UNTRUSTED",
      message: expect.stringContaining("unknown authority"),
    });
  });

  it("refuses a server of another authority with the same name", async () => {
    expect(await meet(await stranger.issue(), good)).toMatchObject({ code: "ERR_UNTRUSTED" });
  });

  it("refuses a server whose certificate has another name", async () => {
    const nameless = await authority.issue({ dnsNames: ["somebody"] });
    expect(await meet(nameless, good)).toMatchObject({ code: "ERR_UNTRUSTED" });
    expect(await meet(nameless, good, { serverName: "somebody" })).toBe("hello");
  });

  it("refuses a client of another authority", async () => {
    const rogue = { ...(await stranger.issue()), caCert: authority.caCert };
    expect(await meet(good, rogue)).toMatchObject({ code: "ERR_UNTRUSTED" });
  });

  it("refuses a client without a certificate", async () => {
    expect(await meet(good, "insecure")).toMatchObject({
      code: "ERR_UNTRUSTED",
      message: expect.stringContaining("certificate required"),
    });
  });

  it("refuses a server that anybody could be", async () => {
    expect(await meet("insecure", good)).toMatchObject({ code: "ERR_UNTRUSTED" });
  });
});

describe("tls options", () => {
  it.each<[string, QuicTls]>([
    ["a key of another certificate", { ...good, key: createSelfSigned().key }],
    ["a key that is none", { ...good, key: "nonsense" }],
    ["a certificate that is none", { ...good, cert: "nonsense" }],
    ["an authority that is none", { ...good, caCert: "nonsense" }],
    [
      "an authority that looks like one",
      { ...good, caCert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
    ],
  ])("refuse %s", async (_, tls) => {
    const opening = openQuicEndpoint({ address: LOOPBACK, alpn: "test", tls });
    expect(await failureOf(opening)).toMatchObject({ code: "ERR_TLS_CONFIG" });
  });

  it("take several authorities", async () => {
    const both = { ...good, caCert: `${createSelfSigned().cert}\n${authority.caCert}` };
    expect(await meet(good, both)).toBe("hello");
  });
});

describe("createSelfSigned", () => {
  it("makes a certificate of today that fits its key", () => {
    const { cert, key } = createSelfSigned("somebody");
    const certificate = new X509Certificate(cert);
    expect(certificate.subject).toBe("CN=somebody");
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(key).toContain("PRIVATE KEY");
    expect(new Date(certificate.validFrom).getTime()).toBeLessThan(Date.now());
    expect(new Date(certificate.validTo).getTime()).toBeGreaterThan(Date.now());
  });
});
