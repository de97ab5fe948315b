import { performance } from "node:perf_hooks";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { LOOPBACK, pairOver } from "./testing/open-pair.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";
import type { UdpSocketFactory } from "./udp-socket.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";

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

describe.each(UDP_KINDS)("A connection over %s whose close is lost", (udp) => {
  it("says again why to a peer that goes on", async () => {
    let isCut = false;
    // Loses what the server sends, up to the first datagram that comes after that.
    const open: UdpSocketFactory = async (options) => {
      const onMessage: typeof options.onMessage = (datagram, ip, port) => {
        isCut = false;
        options.onMessage(datagram, ip, port);
      };
      const socket = await udpSocketFactory(udp)({ ...options, onMessage });
      const send = socket.send.bind(socket);
      socket.send = (buffer, ...rest) => {
        if (isCut) socket.returnBuffer(buffer);
        else send(buffer, ...rest);
      };
      return socket;
    };
    await pairOver(udp)({ server: { udp: open } }, async ({ dialled, accepted }) => {
      const stream = dialled.openStream();
      isCut = true;
      accepted.close(7, "enough");
      // Long after the binding has forgotten it, which on this path is some milliseconds.
      for (const until = performance.now() + HELD_UP_MS; performance.now() < until;);
      await stream.end(Buffer.from("more"));
      expect(await dialled.closed).toMatchObject({ by: "peer", code: 7, text: "enough" });
    });
  });
});

describe.each(UDP_KINDS)("A connection over %s that was closed here", (udp) => {
  it("is forgotten also when timers are ahead of the clock", async () => {
    await pairOver(udp)({}, async ({ dialled, client }) => {
      const stream = dialled.openStream();
      await stream.end(Buffer.from("hello"));
      dialled.close(0);
      expect(client.stats().drainingConnectionCount).toBe(1);
      // From now on every timer looks as if it came so much too early, which is what Node does to a fraction of a millisecond.
      const now = performance.now.bind(performance);
      const spy = vi.spyOn(performance, "now").mockImplementation(() => now() - 50);
      onTestFinished(() => spy.mockRestore());
      const stats = (): number => client.stats().drainingConnectionCount;
      await expect.poll(stats, { timeout: 10_000 }).toBe(0);
    });
  });
});
