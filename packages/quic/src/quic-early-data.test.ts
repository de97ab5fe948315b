import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createTestAuthority } from "@damselfly/rpc/testing";
import * as fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { QuicConnection, QuicEndpoint, QuicEndpointOptions } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createQueue, LOOPBACK } from "./testing/open-pair.ts";
import { Relay } from "./testing/relay.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

const COMMON = { address: LOOPBACK, alpn: "test", tls: "insecure", earlyData: true } as const;
const MINUTE_MS = 60_000;

interface Fixture {
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  /** What the server has taken, in order. */
  readonly nextAccepted: () => Promise<QuicConnection>;
  /** Got on a first connection, which is closed. */
  readonly ticket: Uint8Array;
  /** A way to the server that lets things be held up. */
  readonly relay: Relay;
}

/** A server that echoes, early or not, and a client that has been there once. */
async function withTicket(
  options: {
    readonly both?: Partial<QuicEndpointOptions>;
    readonly server?: Partial<QuicEndpointOptions>;
    readonly client?: Partial<QuicEndpointOptions>;
  },
  test: (fixture: Fixture) => Promise<void>,
): Promise<void> {
  const accepted = createQueue<QuicConnection>();
  const accept = (connection: QuicConnection): void => {
    serveEcho(connection);
    accepted.push(connection);
  };
  const server = await openQuicEndpoint({ ...COMMON, ...options.both, ...options.server, accept });
  const client = await openQuicEndpoint({ ...COMMON, ...options.both, ...options.client });
  const relay = await Relay.open(server.address);
  try {
    const first = await client.dial(server.address);
    const ticket = await ticketOf(first);
    await accepted.shift();
    first.close(0);
    await test({ server, client, nextAccepted: accepted.shift, ticket, relay });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await relay.close();
  }
}

async function ticketOf(connection: QuicConnection): Promise<Uint8Array> {
  await expect.poll(() => connection.ticket, { timeout: 10_000 }).toBeDefined();
  return connection.ticket ?? new Uint8Array(0);
}

async function ask(connection: QuicConnection, text: string): Promise<string> {
  const stream = connection.openStream();
  await stream.end(Buffer.from(text));
  return (await readAll(stream)).toString();
}

describe("early data", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("brings the answer with one flight each way", async () => {
    await withTicket({}, async ({ server, client, nextAccepted, ticket, relay }) => {
      relay.flightsMax = 2;
      const connection = await client.dial(relay.address, { ticket });
      expect(relay.flightCount).toBe(0);
      expect(connection).toMatchObject({ isEarly: true, isOpen: true });
      expect(connection.stats()).toMatchObject({ earlyData: "pending", handshakeMs: 0 });
      expect(await ask(connection, "piece 1")).toBe("piece 1");
      expect(relay.flightCount).toBe(2);
      // The server has seen nothing yet but the first flight.
      const accepted = await nextAccepted();
      expect(accepted.isEarly).toBe(true);
      await connection.established;
      expect(connection.isEarly).toBe(false);
      expect(connection.stats()).toMatchObject({ earlyData: "accepted" });
      relay.release();
      await accepted.established;
      expect(accepted.isEarly).toBe(false);
      expect(accepted.stats().earlyData).toBe("accepted");
      expect(server.stats()).toMatchObject({ acceptedCount: 2, earlyAcceptedCount: 1 });
      expect(client.stats()).toMatchObject({ dialledCount: 2, earlyAcceptedCount: 1 });
    });
  });

  it("may be several packets long", async () => {
    await withTicket({ both: { packetLength: 1350 } }, async ({ server, client, ticket }) => {
      const connection = await client.dial(server.address, { ticket });
      expect(await ask(connection, "x".repeat(8_000))).toHaveLength(8_000);
      await connection.established;
      expect(connection.stats().earlyData).toBe("accepted");
    });
  });

  it("is not there on a first contact, which needs two flights each way", async () => {
    await withTicket({}, async ({ server, client, relay }) => {
      relay.flightsMax = 2;
      const connection = await client.dial(relay.address);
      expect(connection.isEarly).toBe(false);
      expect(connection.stats().earlyData).toBe("none");
      const answer = ask(connection, "piece 1");
      await expect.poll(() => relay.heldCount).toBeGreaterThan(0);
      expect(server.stats().acceptedCount).toBe(1); // the one before
      relay.release();
      expect(await answer).toBe("piece 1");
    });
  });

  it("is not there unless both sides want it", async () => {
    const server = await openQuicEndpoint({ ...COMMON, earlyData: false, accept: serveEcho });
    const client = await openQuicEndpoint({ ...COMMON, earlyData: false });
    const connection = await client.dial(server.address);
    expect(await ask(connection, "hello")).toBe("hello");
    expect(connection.ticket).toBeUndefined();
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("travels again after the handshake where the peer has forgotten the ticket", async () => {
    await withTicket({}, async ({ client, ticket }) => {
      const accepted = createQueue<QuicConnection>();
      const restarted = await openQuicEndpoint({ ...COMMON, accept: accepted.push });
      const connection = await client.dial(restarted.address, { ticket });
      const answer = ask(connection, "again");
      const other = await accepted.shift();
      expect(other.isEarly).toBe(false);
      serveEcho(other);
      expect(await answer).toBe("again");
      expect(connection.stats().earlyData).toBe("refused");
      expect(other.stats().earlyData).toBe("none");
      expect(client.stats()).toMatchObject({ earlyRefusedCount: 1, earlyAcceptedCount: 0 });
      await restarted[Symbol.asyncDispose]();
    });
  });

  it("is taken by another endpoint with the same ticket key, unless that wants none", async () => {
    const ticketKey = Buffer.alloc(48, 7);
    await withTicket({ server: { ticketKey } }, async ({ client, ticket }) => {
      for (const [earlyData, outcome] of [
        [true, "accepted"],
        [false, "refused"],
      ] as const) {
        const restarted = await openQuicEndpoint({
          ...COMMON,
          ticketKey,
          earlyData,
          accept: serveEcho,
        });
        const connection = await client.dial(restarted.address, { ticket });
        expect(await ask(connection, "hello")).toBe("hello");
        await connection.established;
        expect(connection.stats().earlyData).toBe(outcome);
        await restarted[Symbol.asyncDispose]();
      }
    });
  });

  it("gives tickets on resumed connections too, and one ticket serves many of them", async () => {
    await withTicket({}, async ({ server, client, ticket }) => {
      const connections = await Promise.all(
        Array.from({ length: 8 }, () => client.dial(server.address, { ticket })),
      );
      for (const connection of connections) expect(await ask(connection, "a")).toBe("a");
      const [one] = connections;
      if (one === undefined) throw new Error("none");
      const fresher = await ticketOf(one);
      const next = await client.dial(server.address, { ticket: fresher });
      expect(await ask(next, "b")).toBe("b");
      await next.established;
      expect(next.stats().earlyData).toBe("accepted");
    });
  });

  it("is silently left out with what is no ticket", async () => {
    await withTicket({}, async ({ server, client, ticket }) => {
      const cut = fc
        .integer({ min: 0, max: ticket.byteLength - 1 })
        .map((at) => ticket.subarray(0, at));
      const spoilt = fc
        .tuple(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 1, max: 255 }))
        .map(([at, change]) => ticket.map((byte, index) => (index === at ? byte ^ change : byte)));
      await fc.assert(
        fc.asyncProperty(fc.oneof(cut, spoilt, fc.uint8Array({ maxLength: 300 })), async (bad) => {
          const connection = await client.dial(server.address, { ticket: bad });
          expect(await ask(connection, "hello")).toBe("hello");
          connection.close(0);
        }),
        { numRuns: 40 },
      );
    });
  });

  it("is left out with a ticket that is too old, or was got from somebody else", async () => {
    await withTicket({}, async ({ server, client, ticket }) => {
      const stranger = await client.dial(server.address, { ticket, serverName: "other" });
      expect(stranger.isEarly).toBe(false);
      const now = Date.now();
      vi.spyOn(Date, "now").mockReturnValue(now + 61 * MINUTE_MS);
      const late = await client.dial(server.address, { ticket });
      expect(late.isEarly).toBe(false);
    });
  });

  it("does not lengthen the hour by tickets that were got by a ticket", async () => {
    await withTicket({}, async ({ server, client, ticket }) => {
      const now = Date.now();
      const clock = vi.spyOn(Date, "now").mockReturnValue(now + 40 * MINUTE_MS);
      const second = await client.dial(server.address, { ticket });
      await second.established;
      const fresher = await ticketOf(second);
      clock.mockReturnValue(now + 61 * MINUTE_MS);
      const third = await client.dial(server.address, { ticket: fresher });
      expect(third.isEarly).toBe(false);
      expect(second.ticket).toBeUndefined();
    });
  });

  it("is refused under a ticket key that has been replaced after an hour", async () => {
    await withTicket({}, async ({ server, client }) => {
      const hour = Date.now() + 60 * MINUTE_MS;
      const clock = vi.spyOn(Date, "now").mockReturnValue(hour - MINUTE_MS);
      const ticket = await ticketOf(await client.dial(server.address));
      clock.mockReturnValue(hour + MINUTE_MS);
      const connection = await client.dial(server.address, { ticket });
      expect(connection.isEarly).toBe(true);
      expect(await ask(connection, "hello")).toBe("hello");
      await connection.established;
      expect(connection.stats().earlyData).toBe("refused");
    });
  });

  it("rejects what waits for the handshake when that comes to nothing", async () => {
    await withTicket({}, async ({ client, ticket }) => {
      const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
      await once(nobody, "listening");
      const target = { ip: LOOPBACK.ip, port: nobody.address().port };
      const connection = await client.dial(target, { ticket, timeoutMs: 100 });
      const answer = failureOf(ask(connection, "anybody?"));
      const timeout = { code: "ERR_DIAL_TIMEOUT" };
      expect(await failureOf(connection.established)).toMatchObject(timeout);
      expect(await answer).toMatchObject(timeout);
      nobody.close();
    });
  });

  it("is served harmlessly to one who repeats what he has recorded", async () => {
    const limits = { earlyStreamCountMax: 2 };
    await withTicket(
      { server: { limits } },
      async ({ server, client, nextAccepted, ticket, relay }) => {
        const connection = await client.dial(relay.address, { ticket });
        expect(await ask(connection, "x".repeat(500))).toHaveLength(500);
        await (
          await nextAccepted()
        ).established;
        const [flight = Buffer.alloc(0)] = relay.fromClient;

        // While the connection is known, a repetition is nothing new to it.
        const thief = createSocket("udp4").bind(0, LOOPBACK.ip);
        await once(thief, "listening");
        let stolen = 0;
        thief.on("message", (datagram) => {
          stolen += datagram.byteLength;
        });
        const before = server.stats().receivedDatagramCount;
        thief.send(flight, server.address.port, server.address.ip);
        await expect.poll(() => server.stats().receivedDatagramCount).toBeGreaterThan(before);
        connection.close(0);
        await expect.poll(() => server.connectionCount, { timeout: 20_000 }).toBe(0);
        expect(server.stats().acceptedCount).toBe(2);
        expect(stolen).toBe(0);

        // Once it is forgotten, the request is served again, to nobody who could prove an address or read it.
        let spent = 0;
        const repeating = setInterval(() => {
          spent += flight.byteLength;
          thief.send(flight, server.address.port, server.address.ip);
        }, 50);
        const replayed = await nextAccepted();
        clearInterval(repeating);
        expect(replayed.isEarly).toBe(true);
        await expect.poll(() => stolen).toBeGreaterThan(0);
        await server[Symbol.asyncDispose]();
        expect(await failureOf(replayed.established)).toMatchObject({ code: "ERR_CLOSED" });
        expect(replayed.isEarly).toBe(false);
        expect(server.stats().acceptedCount).toBe(2);
        expect(stolen).toBeLessThanOrEqual(3 * spent);
        thief.close();
      },
    );
  });

  it.each([2, 3, 300])(
    "opens no more streams than allowed before the handshake is over, two of %i",
    async (count) => {
      const limits = { earlyStreamCountMax: 2 };
      await withTicket({ server: { limits } }, async ({ client, nextAccepted, ticket, relay }) => {
        relay.flightsMax = 2;
        const connection = await client.dial(relay.address, { ticket });
        const texts = Array.from({ length: count }, (_, index) => `piece ${index}`);
        const answers = texts.map((text) => ask(connection, text));
        const accepted = await nextAccepted();
        expect(await Promise.all(answers.slice(0, 2))).toEqual(texts.slice(0, 2));
        expect(accepted.stats().openedStreamCount).toBe(2);
        relay.release();
        expect(await Promise.all(answers)).toEqual(texts);
      });
    },
  );

  it("rejects a ticket key of another length", async () => {
    for (const length of [0, 47, 49]) {
      const opening = openQuicEndpoint({ ...COMMON, ticketKey: new Uint8Array(length) });
      expect(await failureOf(opening)).toBeInstanceOf(RangeError);
    }
  });
});

describe("early data under mutual TLS", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("comes with the certificates of the connection that the ticket is from", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue();
    await withTicket({ both: { tls } }, async ({ client, nextAccepted, ticket, relay }) => {
      relay.flightsMax = 2;
      const connection = await client.dial(relay.address, { ticket });
      expect(connection.peerCertificates).toHaveLength(1);
      expect(await ask(connection, "hello")).toBe("hello");
      expect((await nextAccepted()).peerCertificates).toHaveLength(1);
      relay.release();
    });
  });

  it("is refused to whom the certificate has run out since", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue();
    const brief = await authority.issue({ validUntil: new Date(Date.now() + 10 * MINUTE_MS) });
    await withTicket(
      { server: { tls }, client: { tls: brief } },
      async ({ server, client, ticket }) => {
        const now = Date.now();
        vi.spyOn(Date, "now").mockReturnValue(now + 20 * MINUTE_MS);
        const connection = await client.dial(server.address, { ticket });
        expect(connection.isEarly).toBe(true);
        expect(await failureOf(ask(connection, "hello"))).toMatchObject({
          code: "ERR_UNTRUSTED",
          message: expect.stringContaining("certificate expired"),
        });
        expect(server.stats().acceptedCount).toBe(1);
      },
    );
  });

  it("is not tried where the peer's certificate has run out since", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue();
    const brief = await authority.issue({ validUntil: new Date(Date.now() + 10 * MINUTE_MS) });
    await withTicket(
      { server: { tls: brief }, client: { tls } },
      async ({ server, client, ticket }) => {
        const now = Date.now();
        vi.spyOn(Date, "now").mockReturnValue(now + 20 * MINUTE_MS);
        expect((await client.dial(server.address, { ticket })).isEarly).toBe(false);
      },
    );
  });
});
