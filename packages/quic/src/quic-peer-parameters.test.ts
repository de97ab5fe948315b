import { describe, expect, it } from "vitest";
import type { NativeConfig } from "./binding.ts";
import type { QuicEndpoint, QuicEndpointOptions } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { NativeClient } from "./testing/native-client.ts";
import { pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";

/** Of networks that no machine is in (RFC 5737): the path between them may take longer packets than are sent at first. */
const SERVER = { ip: "198.51.100.1", port: 4006 };
const STRANGER = { ip: "198.51.100.2", port: 5000 };
const CLIENT = { ip: "203.0.113.1", port: 5000 };

async function withServer(
  options: Partial<QuicEndpointOptions>,
  test: (server: QuicEndpoint, network: MemoryNetwork) => Promise<void>,
): Promise<void> {
  const network = new MemoryNetwork();
  const server = await openQuicEndpoint({
    address: SERVER,
    alpn: "test",
    tls: "insecure",
    udp: network.open,
    accept: serveEcho,
    ...options,
  });
  try {
    await test(server, network);
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

async function expectService(server: QuicEndpoint, network: MemoryNetwork): Promise<void> {
  const common = { alpn: "test", tls: "insecure", udp: network.open } as const;
  const client = await openQuicEndpoint({ ...common, address: CLIENT });
  try {
    const stream = (await client.dial(server.address)).openStream();
    const reading = readAll(stream);
    await stream.end(pattern(100_000));
    expect((await reading).equals(pattern(100_000))).toBe(true);
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

describe("QuicEndpoint", () => {
  it.each<[string, (config: NativeConfig) => void]>([
    ["no longer packets than QUIC's shortest", (config) => config.setMaxRecvUdpPayloadSize(1200)],
    ["packets a little longer than those", (config) => config.setMaxRecvUdpPayloadSize(1300)],
  ])("serves a peer that takes %s, and others", async (_, configure) => {
    await withServer({}, async (server, network) => {
      const client = await NativeClient.open(network, {
        address: STRANGER,
        target: server.address,
        alpn: "test",
        configure,
      });
      client.flush();
      await expect.poll(() => server.stats().acceptedCount, { timeout: 20_000 }).toBe(1);
      client.native.streamSend(0, pattern(500), true);
      client.flush();
      const answer = Buffer.alloc(1000);
      await expect
        .poll(() => client.native.isReadable() && client.native.streamRecv(0, answer))
        .toEqual([500, true]);
      expect(answer.subarray(0, 500).equals(pattern(500))).toBe(true);
      await expectService(server, network);
      expect(server.connectionCount).toBeGreaterThan(0); // the first one is still there
      await client[Symbol.asyncDispose]();
    });
  });
});
