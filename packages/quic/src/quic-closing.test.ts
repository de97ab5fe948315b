import { performance } from "node:perf_hooks";
import { describe, expect, it } from "vitest";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { LOOPBACK } from "./testing/open-pair.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";

/** Longer than the timeout of a handshake packet on loopback, some milliseconds. */
const HELD_UP_MS = 100;
const ROUND_COUNT = 5;

describe.each(UDP_KINDS)("A connection over %s that is closed right after its handshake", (udp) => {
  it("says why to the peer, and stops, on a machine that was held up", async () => {
    const reasons: unknown[] = [];
    const logger = {
      warn: (_: object, message: string) => void reasons.push(message),
      debug: (fields: { readonly reason?: string }) => void reasons.push(fields.reason),
    };
    const common = { address: LOOPBACK, alpn: "test", tls: "insecure", udp } as const;
    const server = await openQuicEndpoint({ ...common, logger, accept: () => undefined });
    const client = await openQuicEndpoint(common);
    for (let round = 0; round < ROUND_COUNT; round++) {
      const dialled = await client.dial(server.address);
      // The server has not confirmed the handshake: the client's last packet of it is to be repeated by now.
      for (const until = performance.now() + HELD_UP_MS; performance.now() < until;);
      dialled.close(7, "enough");
    }
    await expect.poll(() => reasons.length, { timeout: 20_000 }).toBe(ROUND_COUNT);
    for (const reason of reasons) expect(reason).toContain("closed the connection with code 7");
    expect(client.stats().sentDatagramCount).toBeLessThan(ROUND_COUNT * 20);
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
});
