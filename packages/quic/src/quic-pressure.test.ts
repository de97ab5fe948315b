import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicEndpoint, QuicLimits } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { sealInitial } from "./testing/handmade-packet.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { LOOPBACK } from "./testing/open-pair.ts";
import { Relay } from "./testing/relay.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

const COMMON = { address: LOOPBACK, alpn: "test", tls: "insecure", earlyData: true } as const;

interface Fixture {
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  readonly relay: Relay;
  /** The server gets what these send, and they hear nothing until `relay.release()`. */
  readonly dialUnheard: (count: number, timeoutMs?: number) => readonly Promise<QuicConnection>[];
}

async function withLimits(
  limits: Partial<QuicLimits>,
  test: (fixture: Fixture) => Promise<void>,
): Promise<void> {
  const server = await openQuicEndpoint({ ...COMMON, limits, accept: serveEcho });
  const client = await openQuicEndpoint(COMMON);
  const relay = await Relay.open(server.address);
  const dialUnheard: Fixture["dialUnheard"] = (count, timeoutMs = 30_000) => {
    relay.flightsMax = 1;
    return Array.from({ length: count }, () => client.dial(relay.address, { timeoutMs }));
  };
  try {
    await test({ server, client, relay, dialUnheard });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await relay.close();
  }
}

async function ask(connection: QuicConnection, text: string): Promise<string> {
  const stream = connection.openStream();
  await stream.end(Buffer.from(text));
  return (await readAll(stream)).toString();
}

/** Whom a long packet is for (RFC 9000, section 17.2). */
function idOf(datagram: Buffer): Buffer {
  return datagram.subarray(6, 6 + (datagram[5] ?? 0));
}

describe("QuicEndpoint under pressure", () => {
  it("has new diallers prove their address from a count of handshakes on", async () => {
    await withLimits({ retryHalfOpenCount: 2 }, async ({ server, relay, dialUnheard }) => {
      const dials = dialUnheard(3);
      await expect.poll(() => server.stats().retryCount, { timeout: 10_000 }).toBeGreaterThan(0);
      expect(server.connectionCount).toBe(2);
      relay.release();
      for (const dial of dials) expect(await ask(await dial, "hello")).toBe("hello");
      expect(server.stats()).toMatchObject({ acceptedCount: 3, droppedHandshakeCount: 0 });
    });
  });

  it("drops no handshake at the limit", async () => {
    await withLimits({ halfOpenCountMax: 3 }, async ({ server, relay, dialUnheard }) => {
      const dials = dialUnheard(3);
      await expect.poll(() => server.connectionCount, { timeout: 10_000 }).toBe(3);
      relay.release();
      for (const dial of dials) expect(await ask(await dial, "hello")).toBe("hello");
      expect(server.stats()).toMatchObject({ acceptedCount: 3, droppedHandshakeCount: 0 });
    });
  });

  it("drops handshakes beyond the limit, which are tried again later", async () => {
    await withLimits({ halfOpenCountMax: 3 }, async ({ server, relay, dialUnheard }) => {
      const dials = dialUnheard(4);
      await expect
        .poll(() => server.stats().droppedHandshakeCount, { timeout: 10_000 })
        .toBeGreaterThan(0);
      expect(server.connectionCount).toBe(3);
      relay.release();
      for (const dial of dials) expect(await ask(await dial, "hello")).toBe("hello");
      expect(server.stats().acceptedCount).toBe(4);
    });
  });

  it("holds no more handshakes than the limit, however many begin, and serves whoever comes later", async () => {
    await withLimits({ halfOpenCountMax: 3 }, async ({ server, client, relay, dialUnheard }) => {
      const dials = dialUnheard(200, 3_000);
      await expect
        .poll(() => server.stats().droppedHandshakeCount, { timeout: 10_000 })
        .toBeGreaterThanOrEqual(197);
      expect(server.connectionCount).toBe(3);
      relay.release();
      await Promise.allSettled(dials);
      const late = await client.dial(server.address, { timeoutMs: 30_000 });
      expect(await ask(late, "hello")).toBe("hello");
    });
  }, 40_000);

  it("bounds the handshakes of one address", async () => {
    await withLimits(
      { halfOpenPerAddressMax: 2 },
      async ({ server, client, relay, dialUnheard }) => {
        const dials = dialUnheard(2);
        await expect.poll(() => server.stats().retryCount, { timeout: 10_000 }).toBeGreaterThan(0);
        expect(server.connectionCount).toBe(1);
        relay.release();
        for (const dial of dials) expect(await ask(await dial, "hello")).toBe("hello");
        // The count is of handshakes under way: these are over.
        expect(await ask(await client.dial(server.address), "hello")).toBe("hello");
      },
    );
  });

  it("holds no more handshakes of one address than that, however many it begins", async () => {
    await withLimits(
      { halfOpenPerAddressMax: 2 },
      async ({ server, client, relay, dialUnheard }) => {
        const dials = dialUnheard(200, 3_000);
        await expect
          .poll(() => server.stats().retryCount, { timeout: 10_000 })
          .toBeGreaterThanOrEqual(199);
        expect(server.connectionCount).toBe(1);
        relay.release();
        await Promise.allSettled(dials);
        const late = await client.dial(server.address, { timeoutMs: 30_000 });
        expect(await ask(late, "hello")).toBe("hello");
      },
    );
  }, 40_000);

  it("bounds the handshakes that one address begins a second", async () => {
    await withLimits({ handshakesPerSecondMax: 1 }, async ({ server, client }) => {
      const options = { timeoutMs: 30_000 };
      const dials = Array.from({ length: 4 }, () => client.dial(server.address, options));
      for (const dial of dials) expect(await ask(await dial, "hello")).toBe("hello");
      const { retryCount, droppedHandshakeCount } = server.stats();
      expect(retryCount).toBeGreaterThan(0);
      expect(droppedHandshakeCount).toBeGreaterThan(0);
    });
  });

  it("takes no more than an address may begin, of a hundred that it begins at once, and others later", async () => {
    await withLimits({ handshakesPerSecondMax: 1 }, async ({ server, client }) => {
      const startedAt = performance.now();
      const dials = Array.from({ length: 100 }, () =>
        client.dial(server.address, { timeoutMs: 2_000 }).then(
          () => "connected",
          () => "dropped",
        ),
      );
      const outcomes = await Promise.all(dials);
      const seconds = (performance.now() - startedAt) / 1000;
      expect(outcomes).toContain("connected");
      // Two at once, then one a second.
      expect(server.stats().acceptedCount).toBeLessThanOrEqual(2 + seconds);
      const late = await client.dial(server.address, { timeoutMs: 30_000 });
      expect(await ask(late, "hello")).toBe("hello");
    });
  }, 40_000);

  it("takes early data of a proven address, only later", async () => {
    await withLimits({ retryHalfOpenCount: 0 }, async ({ server, client }) => {
      const first = await client.dial(server.address);
      await expect.poll(() => first.ticket, { timeout: 10_000 }).toBeDefined();
      const { retryCount } = server.stats();
      const connection = await client.dial(server.address, { ticket: first.ticket });
      expect(connection.isEarly).toBe(true);
      expect(await ask(connection, "hello")).toBe("hello");
      expect(server.stats().retryCount).toBeGreaterThan(retryCount);
    });
  });

  it("takes a proof from nobody but the one who was asked", async () => {
    await withLimits({ retryHalfOpenCount: 0 }, async ({ server, client, relay }) => {
      await client.dial(relay.address);
      // The proof goes to another id than what came before it, which may have been repeated.
      const [initial = Buffer.alloc(0), ...later] = relay.fromClient;
      const isProof = (datagram: Buffer): boolean => !idOf(datagram).equals(idOf(initial));
      const proof = later.find(isProof) ?? Buffer.alloc(0);
      await expect.poll(() => server.stats().acceptedCount).toBe(1);
      const { retryCount } = server.stats();
      const elsewhere = createSocket("udp4").bind(0, "127.0.0.2");
      await once(elsewhere, "listening");
      // The id is known as long as the connection is: another one, by the same proof, is none.
      const changed = Buffer.from(proof);
      changed[6] = (changed[6] ?? 0) ^ 1;
      elsewhere.send(changed, server.address.port, server.address.ip);
      await expect.poll(() => server.stats().droppedDatagramCount).toBe(1);
      const unchanged = { connectionCount: 1, retryCount, acceptedCount: 1 };
      expect(server.stats()).toMatchObject(unchanged);
      elsewhere.close();
    });
  });

  it("stays ready for others under a flood of first packets from made-up addresses", async () => {
    await withLimits({ retryHalfOpenCount: 8 }, async ({ server, client, relay, dialUnheard }) => {
      const flood = dialUnheard(100).map(failureOf);
      await expect.poll(() => server.stats().retryCount, { timeout: 10_000 }).toBeGreaterThan(50);
      expect(server.connectionCount).toBeLessThanOrEqual(8);
      const other = await openQuicEndpoint(COMMON);
      expect(await ask(await other.dial(server.address), "hello")).toBe("hello");
      await other[Symbol.asyncDispose]();
      relay.isCut = true;
      await client.abort();
      for (const failure of flood) expect(await failure).toMatchObject({ code: "ERR_CLOSED" });
    });
  });

  it("takes no more than a megabyte of anybody whose handshake is not over", async () => {
    const network = new MemoryNetwork();
    const common = { ...COMMON, udp: network.open };
    const server = await openQuicEndpoint({ ...common, accept: serveEcho });
    const stranger = { ip: "10.0.0.1", port: 9 };
    let answerCount = 0;
    network.onDatagram = ({ to }) => {
      if (to.ip === stranger.ip) answerCount++;
      return true;
    };
    /** A part of a TLS message that is far from complete: it has to be kept until the rest comes. */
    const sendPart = async (number: number): Promise<void> => {
      const part = Buffer.alloc(1_104);
      part.writeUInt8(0x06);
      part.writeUInt32BE(0x8000_0000 + (number + 1) * 1_096, 1);
      part.writeUInt16BE(0x4000 + 1_096, 5);
      const ids = { destinationId: Buffer.alloc(8, 1), sourceId: Buffer.alloc(8, 2) };
      const packet = { ...ids, token: Buffer.alloc(0), packetNumber: number, lengthMin: 1_200 };
      network.inject({
        bytes: sealInitial({ ...packet, payload: part }),
        from: stranger,
        to: server.address,
      });
      await new Promise((resolve) => setImmediate(resolve));
    };
    const countMax = 1024 * 1024;
    for (let number = 0; number * 1_200 < countMax; number++) await sendPart(number);
    await expect.poll(() => answerCount).toBeGreaterThan(800);
    const answeredCount = answerCount;
    for (let number = 1_000; number < 1_200; number++) await sendPart(number);
    const client = await openQuicEndpoint(common);
    expect(await ask(await client.dial(server.address), "hello")).toBe("hello");
    expect(answerCount - answeredCount).toBeLessThanOrEqual(1);
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("rejects limits out of bounds", async () => {
    const wrong: Partial<QuicLimits>[] = [
      { halfOpenCountMax: 0 },
      { retryHalfOpenCount: -1 },
      { halfOpenPerAddressMax: 0 },
      { handshakesPerSecondMax: 0.5 },
      { earlyStreamCountMax: -1 },
    ];
    for (const limits of wrong) {
      expect(await failureOf(openQuicEndpoint({ ...COMMON, limits }))).toBeInstanceOf(RangeError);
    }
  });
});
