import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicEndpoint } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createNarrowPath, FAR_AWAY, type NarrowPath } from "./testing/narrow-path.ts";
import { createQueue, LOOPBACK } from "./testing/open-pair.ts";
import { readAll, serveEcho } from "./testing/stream-bytes.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";

const CONTENT = Buffer.alloc(400_000, "content");

describe.each(UDP_KINDS)("Packets over %s", (udp) => {
  async function over(
    lengthMax: number,
    test: (
      path: NarrowPath,
      ends: { readonly dialled: QuicConnection; readonly accepted: QuicConnection },
    ) => Promise<void>,
    options: { readonly packetLength?: number } = {},
  ): Promise<void> {
    const path = createNarrowPath(udpSocketFactory(udp), lengthMax);
    const accepting = createQueue<QuicConnection>();
    const common = { address: LOOPBACK, alpn: "test", tls: "insecure", udp: path.open } as const;
    const endpoints: QuicEndpoint[] = [];
    try {
      const server = await openQuicEndpoint({ ...common, ...options, accept: accepting.push });
      endpoints.push(server);
      const client = await openQuicEndpoint({ ...common, ...options });
      endpoints.unshift(client);
      const dialled = await client.dial({ ip: FAR_AWAY, port: server.address.port });
      const accepted = await accepting.shift();
      serveEcho(accepted);
      await test(path, { dialled, accepted });
    } finally {
      for (const endpoint of endpoints) await endpoint[Symbol.asyncDispose]();
    }
  }

  async function exchange(connection: QuicConnection): Promise<void> {
    const stream = connection.openStream();
    const reading = readAll(stream);
    await stream.end(CONTENT);
    expect(digest(await reading)).toBe(digest(CONTENT));
  }

  // Without koffi, too, dgram would let the kernel fragment: then there are no probes.
  it.runIf(UDP_KINDS.includes("gso"))("become as long as the path is seen to take", async () => {
    await over(1500, async (path, { dialled, accepted }) => {
      await exchange(dialled);
      for (const end of [dialled, accepted]) {
        await expect.poll(() => end.stats().packetLength).toBe(1449);
        expect(end.stats().lostPacketCount).toBe(0);
      }
      expect(path.longestHandshake).toBe(1200);
    });
  });

  it("stay as they are where the path takes no longer ones", async () => {
    await over(1400, async (_, { dialled, accepted }) => {
      await exchange(dialled);
      await exchange(dialled);
      for (const end of [dialled, accepted]) expect(end.stats().packetLength).toBe(1350);
    });
  });

  it("become short on a path that loses long ones in silence", async () => {
    await over(1300, async (_, { dialled, accepted }) => {
      await exchange(dialled);
      for (const end of [dialled, accepted]) expect(end.stats().packetLength).toBe(1200);
    });
  });

  it("become short when a path turns narrow, and long again after that", async () => {
    await over(1500, async (path, { dialled, accepted }) => {
      await exchange(dialled);
      path.lengthMax = 1250;
      await exchange(dialled);
      expect(accepted.stats().packetLength).toBe(1200);
      path.lengthMax = 1500;
      // Looked for a second later, when there is something to send.
      const isBack = async (): Promise<boolean> => {
        await exchange(dialled);
        return accepted.stats().packetLength >= 1347;
      };
      await expect.poll(isBack, { timeout: 25_000, interval: 200 }).toBe(true);
    });
  });

  it("are of a pinned length where the path takes it, and short where it does not", async () => {
    const options = { packetLength: 4000 };
    const ends = async (
      path: NarrowPath,
      { accepted, dialled }: { accepted: QuicConnection; dialled: QuicConnection },
    ): Promise<void> => {
      await exchange(dialled);
      expect(accepted.stats().packetLength).toBe(path.lengthMax < 4000 ? 1200 : 4000);
    };
    await over(5000, ends, options);
    await over(1500, ends, options);
  });
});

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
