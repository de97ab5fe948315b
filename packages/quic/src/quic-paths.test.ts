import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicEndpoint } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createQueue } from "./testing/open-pair.ts";
import { Relay } from "./testing/relay.ts";
import { failureOf, pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";

/** As often as the binding follows a peer. */
const MOVE_COUNT_MAX = 7;

interface Fixture {
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  /** What the client's connection passes through. */
  readonly relay: Relay;
  readonly dialled: QuicConnection;
  readonly peer: QuicConnection;
}

async function withNat(
  ip: string,
  options: { readonly idleTimeoutMs?: number },
  test: (fixture: Fixture) => Promise<void>,
): Promise<void> {
  const common = { address: { ip, port: 0 }, alpn: "test", tls: "insecure", ...options } as const;
  const accepted = createQueue<QuicConnection>();
  const server = await openQuicEndpoint({
    ...common,
    packetLength: 1350,
    accept(connection) {
      serveEcho(connection);
      accepted.push(connection);
    },
  });
  const client = await openQuicEndpoint({ ...common, packetLength: 1350 });
  const relay = await Relay.open(server.address);
  try {
    const dialled = await client.dial(relay.address);
    await test({ server, client, relay, dialled, peer: await accepted.shift() });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await relay.close();
  }
}

/** Has the client's address change in the middle of a transfer both ways. */
async function transferAcrossMove({ relay, dialled, peer }: Fixture): Promise<void> {
  // Short enough for the buffers of the relay's sockets: what is lost is to be lost to the move alone.
  const bytes = pattern(100_000);
  const before = peer.remoteAddress.port;
  const stream = dialled.openStream();
  const reading = readAll(stream);
  await stream.write(bytes.subarray(0, 50_000));
  await relay.moveSource();
  await stream.end(bytes.subarray(50_000));
  expect(bytes.equals(await reading)).toBe(true);
  expect(peer.remoteAddress.port).not.toBe(before);
}

describe.each(["127.0.0.1", "::1"])("A connection through a NAT at %s", (ip) => {
  it("goes on when the NAT forgets it in the middle of transfers, again and again", async () => {
    await withNat(ip, {}, async (fixture) => {
      for (let round = 0; round < MOVE_COUNT_MAX; round++) await transferAcrossMove(fixture);
      const { server } = fixture;
      expect(server.stats()).toMatchObject({ acceptedCount: 1, resetSentCount: 0 });
    });
  });

  it.each([1, 100])("idles out when it is forgotten %i times more, alone", async (count) => {
    await withNat(ip, { idleTimeoutMs: 2_000 }, async (fixture) => {
      for (let round = 0; round < MOVE_COUNT_MAX; round++) await transferAcrossMove(fixture);
      const { server, client, relay, dialled, peer } = fixture;
      const last = peer.remoteAddress.port;
      const asking: Promise<unknown>[] = [];
      for (let round = 0; round < count; round++) {
        await relay.moveSource();
        const stream = dialled.openStream();
        asking.push(failureOf(stream.end(Buffer.from("still here")).then(() => readAll(stream))));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const honest = await client.dial(server.address);
      const stream = honest.openStream();
      await stream.end(Buffer.from("me too"));
      expect((await readAll(stream)).toString()).toBe("me too");
      for (const failure of await Promise.all(asking)) {
        expect(failure).toMatchObject({ code: "ERR_CONNECTION_LOST" });
      }
      expect(await dialled.closed).toMatchObject({ by: "idle-timeout" });
      expect(await peer.closed).toMatchObject({ by: "idle-timeout" });
      expect(peer.remoteAddress.port).toBe(last);
    });
  });
});
