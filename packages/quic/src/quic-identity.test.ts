import { X509Certificate } from "node:crypto";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { afterEach, describe, expect, it, vi } from "vitest";
import type {
  QuicConnection,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicPeer,
  QuicTls,
} from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createQueue, LOOPBACK } from "./testing/open-pair.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

const authority = await createTestAuthority();
const [first, second] = await Promise.all([authority.issue(), authority.issue()]);
const HOUR_MS = 3_600_000;

interface Fixture {
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  readonly nextAccepted: () => Promise<QuicConnection>;
  /** Connections that the server's application has seen. */
  readonly acceptedCount: () => number;
}

async function withEndpoints(
  tls: { readonly server: QuicTls; readonly client: QuicTls },
  test: (fixture: Fixture) => Promise<void>,
  options: Partial<QuicEndpointOptions> = {},
): Promise<void> {
  const accepted = createQueue<QuicConnection>();
  let count = 0;
  const accept = (connection: QuicConnection): void => {
    count++;
    serveEcho(connection);
    accepted.push(connection);
  };
  const common = { address: LOOPBACK, alpn: "test", earlyData: true, ...options };
  const server = await openQuicEndpoint({ ...common, tls: tls.server, accept });
  const client = await openQuicEndpoint({ ...common, tls: tls.client });
  try {
    await test({ server, client, nextAccepted: accepted.shift, acceptedCount: () => count });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}

async function ask(connection: QuicConnection, text: string): Promise<string> {
  const stream = connection.openStream();
  await stream.end(Buffer.from(text));
  return (await readAll(stream)).toString();
}

async function ticketOf(connection: QuicConnection): Promise<Uint8Array> {
  await expect.poll(() => connection.ticket, { timeout: 10_000 }).toBeDefined();
  return connection.ticket ?? new Uint8Array(0);
}

/** Speaks against certificates of this serial number. */
function refusing({ cert }: QuicTls): Pick<QuicTls, "checkPeer"> {
  const { serialNumber } = new X509Certificate(cert);
  return {
    checkPeer: ({ certificates }) => {
      const isIt = certificates.some(
        (der) => new X509Certificate(der).serialNumber === serialNumber,
      );
      return isIt ? { alert: 44, reason: "it is on the list" } : undefined;
    },
  };
}

const REVOKED = {
  code: "ERR_UNTRUSTED",
  message: expect.stringMatching(/certificate revoked.*it is on the list/),
};

describe("checkPeer", () => {
  it("is shown each side's certificates, and who dialled", async () => {
    const seen: QuicPeer[] = [];
    const checkPeer = (peer: QuicPeer): undefined => void seen.push(peer);
    const intermediate = await authority.createIntermediate();
    const client = { ...(await intermediate.issue()), checkPeer };
    await withEndpoints({ server: { ...first, checkPeer }, client }, async (fixture) => {
      await ask(await fixture.client.dial(fixture.server.address), "hello");
      const dialled = seen.filter(({ isDialled }) => isDialled);
      const diallers = seen.filter(({ isDialled }) => !isDialled);
      expect([dialled.length, diallers.length]).toEqual([1, 1]);
      expect(Buffer.from(dialled[0]!.certificates[0]!)).toEqual(
        new X509Certificate(first.cert).raw,
      );
      expect(diallers[0]!.certificates).toHaveLength(2);
      expect(seen.some(({ isRunning }) => isRunning)).toBe(false);
    });
  });

  it("closes a connection that was dialled before anybody uses it", async () => {
    await withEndpoints(
      { server: first, client: { ...second, ...refusing(first) } },
      async ({ server, client }) => {
        expect(await failureOf(client.dial(server.address))).toMatchObject(REVOKED);
      },
    );
  });

  it("closes a connection from a dialler before it is accepted, and tells why", async () => {
    await withEndpoints(
      { server: { ...first, ...refusing(second) }, client: second },
      async ({ server, client, acceptedCount }) => {
        const connection = await client.dial(server.address);
        expect(await failureOf(ask(connection, "hello"))).toMatchObject(REVOKED);
        expect(acceptedCount()).toBe(0);
      },
    );
  });
});

describe("useTls", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("shows the new certificate on new connections, while those that run go on", async () => {
    await withEndpoints({ server: first, client: second }, async ({ server, client }) => {
      const before = await client.dial(server.address);
      server.useTls(second);
      client.useTls(first);
      const after = await client.dial(server.address);
      expect(Buffer.from(after.peerCertificates[0]!)).toEqual(new X509Certificate(second.cert).raw);
      expect(await ask(before, "before")).toBe("before");
      expect(await ask(after, "after")).toBe("after");
    });
  });

  it("refuses what cannot be used, and stays with what was", async () => {
    await withEndpoints({ server: first, client: second }, async ({ server, client }) => {
      const broken = { ...second, key: first.key };
      expect(() => server.useTls(broken)).toThrow("not that of certificate");
      const { cert, key } = await authority.issue({ maySign: false });
      expect(() => server.useTls({ ...first, cert, key })).toThrow(/certificate is refused.*USAGE/);
      expect(await ask(await client.dial(server.address), "hello")).toBe("hello");
    });
  });

  it("is not for an endpoint that was opened insecure", async () => {
    const endpoint = await openQuicEndpoint({ address: LOOPBACK, alpn: "test", tls: "insecure" });
    expect(() => endpoint.useTls(first)).toThrow(TypeError);
    await endpoint[Symbol.asyncDispose]();
  });

  it("closes connections whose peers do not pass any more, on either side", async () => {
    await withEndpoints({ server: first, client: second }, async (fixture) => {
      const { server, client, nextAccepted } = fixture;
      const [dialled, accepted] = [await client.dial(server.address), await nextAccepted()];
      server.useTls({ ...first, ...refusing(second) });
      expect(await accepted.closed).toMatchObject({ by: "here", code: 0x100 + 44 });
      expect(await dialled.closed).toMatchObject({ by: "peer", code: 0x100 + 44 });

      server.useTls(first);
      const again = await client.dial(server.address);
      client.useTls({ ...second, ...refusing(first) });
      expect(await again.closed).toMatchObject({ by: "here", code: 0x100 + 44 });
    });
  });

  it("makes a ticket worth nothing to a dialler whose certificate was refused since", async () => {
    await withEndpoints({ server: first, client: second }, async (fixture) => {
      const { server, client, nextAccepted, acceptedCount } = fixture;
      const connection = await client.dial(server.address);
      const ticket = await ticketOf(connection);
      await nextAccepted();
      server.useTls({ ...first, ...refusing(second) });
      const early = await client.dial(server.address, { ticket });
      expect(early.isEarly).toBe(true);
      expect(await failureOf(ask(early, "hello"))).toMatchObject(REVOKED);
      expect(acceptedCount()).toBe(1);
    });
  });

  it("does not use a ticket of a server whose certificate is refused since", async () => {
    await withEndpoints({ server: first, client: second }, async ({ server, client }) => {
      const ticket = await ticketOf(await client.dial(server.address));
      client.useTls({ ...second, ...refusing(first) });
      expect(await failureOf(client.dial(server.address, { ticket }))).toMatchObject(REVOKED);
      server.useTls({ ...(await authority.issue()) });
      expect(await ask(await client.dial(server.address, { ticket }), "hello")).toBe("hello");
    });
  });

  it("closes a connection within a minute after its peer's certificate has run out", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
    try {
      await withEndpoints({ server: first, client: second }, async ({ server, client }) => {
        const connection = await client.dial(server.address);
        vi.setSystemTime(Date.now() + HOUR_MS / 2);
        vi.advanceTimersByTime(60_000);
        expect(await ask(connection, "hello")).toBe("hello");
        vi.setSystemTime(Date.now() + HOUR_MS);
        vi.advanceTimersByTime(60_000);
        expect(await connection.closed).toMatchObject({ by: "here", code: 0x100 + 45 });
      });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a ticket", () => {
  it("keeps the whole chain that was shown for it, on either side", async () => {
    const [one, two] = await Promise.all([
      authority.createIntermediate(),
      authority.createIntermediate(),
    ]);
    const [server, client] = await Promise.all([one.issue(), two.issue()]);
    await withEndpoints({ server, client }, async (fixture) => {
      const connection = await fixture.client.dial(fixture.server.address);
      const ticket = await ticketOf(connection);
      await fixture.nextAccepted();
      const resumed = await fixture.client.dial(fixture.server.address, { ticket });
      expect(resumed.isEarly).toBe(true);
      expect(resumed.peerCertificates).toHaveLength(2);
      expect(await ask(resumed, "hello")).toBe("hello");
      await resumed.established;
      expect(resumed.stats().earlyData).toBe("accepted");
      expect((await fixture.nextAccepted()).peerCertificates).toHaveLength(2);
    });
  });
});
