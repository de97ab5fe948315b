import { describe, expect, it } from "vitest";
import type { QuicConnection } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createQueue } from "./testing/open-pair.ts";
import { Relay } from "./testing/relay.ts";
import { pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";

describe.each(["127.0.0.1", "::1"])("A connection through a NAT at %s", (ip) => {
  it("goes on when the NAT forgets it in the middle of transfers, again and again", async () => {
    const common = { address: { ip, port: 0 }, alpn: "test", tls: "insecure" } as const;
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
    const dialled = await client.dial(relay.address);
    const peer = await accepted.shift();
    // Short enough for the buffers of the relay's sockets: what is lost is to be lost to the move alone.
    const bytes = pattern(100_000);
    for (let round = 0; round < 7; round++) {
      const before = peer.remoteAddress.port;
      const stream = dialled.openStream();
      const reading = readAll(stream);
      await stream.write(bytes.subarray(0, 50_000));
      await relay.moveSource();
      await stream.end(bytes.subarray(50_000));
      expect(bytes.equals(await reading)).toBe(true);
      expect(peer.remoteAddress.port).not.toBe(before);
    }
    expect(server.stats()).toMatchObject({ acceptedCount: 1, resetSentCount: 0 });
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await relay.close();
  });
});
