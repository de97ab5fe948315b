import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { NativeConfigs } from "./native-configs.ts";
import type { QuicEndpointOptions, QuicStream } from "./quic.ts";
import { QuicheConnection } from "./quiche-connection.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { createMovableSocket } from "./testing/movable-socket.ts";
import { openNarrow } from "./testing/narrow-socket.ts";
import { createQueue, LOOPBACK, pairOver, withPair } from "./testing/open-pair.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";

const INSECURE = { address: LOOPBACK, alpn: "test", tls: "insecure" } as const;

describe("QuicEndpoint", () => {
  it("listens and dials on one port", async () => {
    await withPair({}, async ({ client, server, dialled, accepted }) => {
      expect(dialled.remoteAddress).toEqual(server.address);
      expect(accepted.remoteAddress).toEqual(client.address);
      expect([dialled.isDialler, accepted.isDialler]).toEqual([true, false]);
      const other = await openQuicEndpoint({ ...INSECURE, accept: serveEcho });
      const fromServer = await server.dial(other.address);
      const stream = fromServer.openStream();
      await stream.end(Buffer.from("hello"));
      expect((await readAll(stream)).toString()).toBe("hello");
      expect(server.connectionCount).toBe(2);
      await other[Symbol.asyncDispose]();
    });
  });

  it("speaks IPv6", async () => {
    const address = { ip: "::1", port: 0 };
    await withPair({ both: { address } }, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("six"));
      expect((await readAll(stream)).toString()).toBe("six");
    });
  });

  it("works bound to every address", async () => {
    await withPair(
      { client: { address: { ip: "0.0.0.0", port: 0 } } },
      async ({ dialled, accepted }) => {
        serveEcho(accepted);
        const stream = dialled.openStream();
        await stream.end(Buffer.from("any"));
        expect((await readAll(stream)).toString()).toBe("any");
      },
    );
  });

  it("gives up a dial that nobody answers", async () => {
    const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(nobody, "listening");
    const client = await openQuicEndpoint(INSECURE);
    const target = { ip: LOOPBACK.ip, port: nobody.address().port };
    expect(await failureOf(client.dial(target, { timeoutMs: 100 }))).toMatchObject({
      code: "ERR_DIAL_TIMEOUT",
    });
    await expect.poll(() => client.connectionCount).toBe(0);
    await client[Symbol.asyncDispose]();
    nobody.close();
  });

  it("gives up a dial when the signal aborts, with its reason", async () => {
    const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(nobody, "listening");
    const client = await openQuicEndpoint(INSECURE);
    const target = { ip: LOOPBACK.ip, port: nobody.address().port };
    const reason = new Error("enough");
    const controller = new AbortController();
    const dialling = failureOf(client.dial(target, { signal: controller.signal }));
    await once(nobody, "message");
    controller.abort(reason);
    expect(await dialling).toBe(reason);
    expect(await failureOf(client.dial(target, { signal: controller.signal }))).toBe(reason);
    await client[Symbol.asyncDispose]();
    nobody.close();
  });

  it("says at once that an address cannot be reached", async () => {
    const client = await openQuicEndpoint(INSECURE);
    const unreachable = { code: "ERR_UNREACHABLE" };
    expect(await failureOf(client.dial({ ip: "::1", port: 1 }))).toMatchObject(unreachable);
    expect(await failureOf(client.dial({ ip: "127.0.0.1", port: 0 }))).toMatchObject(unreachable);
    expect(await failureOf(client.dial({ ip: "255.255.255.255", port: 1 }))).toMatchObject(
      unreachable,
    );
    expect(await failureOf(client.dial({ ip: "localhost", port: 1 }))).toBeInstanceOf(RangeError);
    const keyed = client.dial({ ip: "127.0.0.1", port: 1 }, { peerKey: "12D3KooW" });
    expect(await failureOf(keyed)).toBeInstanceOf(TypeError);
    await client[Symbol.asyncDispose]();
  });

  it("finds no common protocol with a peer that speaks another", async () => {
    const server = await openQuicEndpoint({ ...INSECURE, alpn: "other", accept: serveEcho });
    const client = await openQuicEndpoint(INSECURE);
    expect(await failureOf(client.dial(server.address))).toMatchObject({
      code: "ERR_TLS",
      message: expect.stringContaining("no application protocol in common"),
    });
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("refuses connections beyond its limit, and takes the next when there is room", async () => {
    await withPair(
      { server: { limits: { connectionCountMax: 1 } } },
      async ({ server, dialled }) => {
        const second = await openQuicEndpoint(INSECURE);
        const attempt = second
          .dial(server.address)
          .then((connection) => failureOf(readAll(connection.openStream())));
        const failure = await attempt.catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: "ERR_REFUSED" });
        expect(server.stats()).toMatchObject({
          connectionCount: 1,
          refusedCount: 1,
          acceptedCount: 1,
        });
        const others = Array.from({ length: 200 }, async () => {
          const connection = await second.dial(server.address, { timeoutMs: 20_000 });
          await readAll(connection.openStream());
        });
        for (const { status } of await Promise.allSettled(others)) expect(status).toBe("rejected");
        expect(server.stats()).toMatchObject({ connectionCount: 1, acceptedCount: 1 });
        dialled.close(0);
        await expect.poll(() => server.connectionCount).toBe(0);
        const third = await second.dial(server.address);
        expect(third.isOpen).toBe(true);
        await second[Symbol.asyncDispose]();
      },
    );
  });

  it("refuses to dial beyond its own limit", async () => {
    await withPair(
      { client: { limits: { connectionCountMax: 1 } } },
      async ({ client, server }) => {
        expect(await failureOf(client.dial(server.address))).toMatchObject({ code: "ERR_REFUSED" });
      },
    );
  });

  it("shrugs off datagrams that are no QUIC, or not for it", async () => {
    await withPair({}, async ({ server, dialled, accepted }) => {
      serveEcho(accepted);
      const noise = createSocket("udp4");
      const send = (bytes: Uint8Array): Promise<unknown> =>
        new Promise((resolve) => {
          noise.send(bytes, server.address.port, server.address.ip, resolve);
        });
      const junk = fc.uint8Array({ minLength: 0, maxLength: 1500 });
      const start = fc.constantFrom(
        [0xc0, 0, 0, 0, 1, 8],
        [0xc0, 0, 0, 0, 1, 20],
        [0x40],
        [0xff],
        [],
      );
      await fc.assert(
        fc.asyncProperty(start, junk, async (head, tail) => {
          await send(Buffer.concat([Buffer.from(head), tail]));
        }),
        { numRuns: 300 },
      );
      // An Initial packet in form, with nothing that decrypts in it.
      const initial = Buffer.alloc(1200, 7);
      initial.set([0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x80]);
      await send(initial);
      noise.close();
      const stream = dialled.openStream();
      await stream.end(Buffer.from("still here"));
      expect((await readAll(stream)).toString()).toBe("still here");
      expect(server.stats().droppedDatagramCount).toBeGreaterThan(0);
      await expect.poll(() => server.connectionCount).toBe(1);
    });
  });

  it("answers another version of QUIC with those it speaks", async () => {
    const server = await openQuicEndpoint({ ...INSECURE, accept: serveEcho });
    const other = createSocket("udp4").bind(0, LOOPBACK.ip);
    const packet = Buffer.alloc(1200);
    packet.set([0xc0, 0xfa, 0xfa, 0xfa, 0xfa, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9]);
    other.send(packet, server.address.port, server.address.ip);
    const answer = await new Promise<Buffer>((resolve) => {
      other.once("message", resolve);
    });
    expect(answer.readUInt32BE(1)).toBe(0); // version negotiation
    expect(answer.subarray(5, 10)).toEqual(Buffer.of(4, 9, 9, 9, 9));
    expect(answer.includes(Buffer.of(0, 0, 0, 1))).toBe(true);
    other.close();
    await server[Symbol.asyncDispose]();
  });

  it("rejects options out of bounds", async () => {
    const wrong: Partial<QuicEndpointOptions>[] = [
      { address: { ip: "localhost", port: 0 } },
      { address: { ip: "127.0.0.1", port: 65_536 } },
      { alpn: "" },
      { packetLength: 1199 },
      { packetLength: 16_384 },
      { idleTimeoutMs: -1 },
      { limits: { streamWindow: 0.5 } },
    ];
    for (const options of wrong) {
      expect(await failureOf(openQuicEndpoint({ ...INSECURE, ...options }))).toBeInstanceOf(
        RangeError,
      );
    }
  });

  it("says which address is taken", async () => {
    const server = await openQuicEndpoint(INSECURE);
    expect(
      await failureOf(openQuicEndpoint({ ...INSECURE, address: server.address })),
    ).toMatchObject({
      code: "ERR_ADDRESS",
      message: expect.stringContaining(`port ${server.address.port} on 127.0.0.1`),
    });
    await server[Symbol.asyncDispose]();
  });

  it("says when the kernel gives small buffers", async () => {
    const warnings: string[] = [];
    const logger = {
      debug: () => undefined,
      warn: (_: object, text: string) => void warnings.push(text),
    };
    const bufferLength = 1024 ** 3;
    const endpoint = await openQuicEndpoint({ ...INSECURE, bufferLength, logger });
    expect(warnings).toEqual([
      expect.stringContaining("sysctl net.core.rmem_max=1073741824 net.core.wmem_max=1073741824"),
    ]);
    await endpoint[Symbol.asyncDispose]();
  });

  it("is closed once disposed, and twice", async () => {
    const client = await openQuicEndpoint(INSECURE);
    await client[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    expect(await failureOf(client.dial({ ip: "127.0.0.1", port: 1 }))).toMatchObject({
      code: "ERR_CLOSED",
    });
  });

  it("delivers what was written before it is disposed", async () => {
    await withPair({}, async ({ server, dialled, accepted }) => {
      accepted.onStream = (stream) => {
        readAll(stream)
          .then(() => stream.end(Buffer.alloc(5_000_000, 1)))
          .then(() => server[Symbol.asyncDispose]())
          .catch(() => stream.reset(1));
      };
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      expect(await readAll(stream)).toHaveLength(5_000_000);
    });
  });
});

describe.each(UDP_KINDS)("QuicConnection over %s", (udp) => {
  const withPairHere = pairOver(udp);

  it("carries code and reason of a close to the peer, and ends its streams", async () => {
    await withPairHere({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.write(Buffer.from("go"));
      await incoming.shift();
      const reading = failureOf(stream.read(new Uint8Array(1)));
      accepted.close(4242, "maintenance\nnow");
      accepted.close(1);
      const peers = { isApplication: true, code: 4242, text: "maintenance?now" };
      expect(await dialled.closed).toEqual({ by: "peer", ...peers });
      expect(await accepted.closed).toMatchObject({ by: "here", code: 4242 });
      expect(await reading).toMatchObject({
        code: "ERR_CONNECTION_LOST",
        applicationCode: 4242,
        message: expect.stringContaining("maintenance?now"),
      });
      expect(() => dialled.openStream()).toThrow("the peer closed the connection with code 4242");
      expect(() => accepted.openStream()).toThrow("closed on this side");
      expect(dialled.isOpen).toBe(false);
    });
  });

  it("lets what arrived before the peer's close be read", async () => {
    await withPairHere({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      dialled.onStream = incoming.push;
      const stream = accepted.openStream();
      await stream.end(Buffer.from("last words"));
      const received = await incoming.shift();
      accepted.close(0);
      await dialled.closed;
      expect((await readAll(received)).toString()).toBe("last words");
      expect(await failureOf(received.end())).toMatchObject({ code: "ERR_CONNECTION_LOST" });
    });
  });

  it("notices by the idle timeout that the peer has died", async () => {
    await withPairHere({ both: { idleTimeoutMs: 200 } }, async ({ server, dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.write(Buffer.from("go"));
      const reading = failureOf(readAll(stream));
      await server.abort();
      expect(await accepted.closed).toMatchObject({ by: "lost" });
      expect(await dialled.closed).toMatchObject({ by: "idle-timeout" });
      expect(await reading).toMatchObject({ code: "ERR_CONNECTION_LOST" });
      expect(await stream.closed).toMatchObject({ code: "ERR_CONNECTION_LOST" });
    });
  });

  it("lives on while it is retained, and idles out afterwards", async () => {
    await withPairHere({ both: { idleTimeoutMs: 500 } }, async ({ dialled }) => {
      const releases = [dialled.retain(), dialled.retain()];
      releases[0]?.();
      releases[0]?.();
      await new Promise((resolve) => setTimeout(resolve, 1200));
      expect(dialled.isOpen).toBe(true);
      releases[1]?.();
      expect(await dialled.closed).toMatchObject({ by: "idle-timeout" });
    });
  });

  it("gives up a peer that answers no ping, long before the idle timeout", async () => {
    await withPairHere({ client: { deadAfterMs: 150 } }, async ({ server, dialled }) => {
      dialled.retain();
      await server.abort();
      expect(await dialled.closed).toMatchObject({ by: "idle-timeout" });
    });
  });

  it("follows a peer whose address changes", async () => {
    const path = createMovableSocket(udpSocketFactory(udp));
    await withPairHere({ client: { udp: path.open } }, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const before = accepted.remoteAddress.port;
      const stream = dialled.openStream();
      const reading = readAll(stream);
      await stream.write(Buffer.alloc(60_000, 1));
      path.move();
      await stream.end(Buffer.alloc(60_000, 1));
      expect(await reading).toEqual(Buffer.alloc(120_000, 1));
      expect(accepted.remoteAddress.port).not.toBe(before);
    });
  });

  it("goes on with shorter packets where the path takes no longer ones", async () => {
    const narrow = openNarrow(udpSocketFactory(udp), 1300);
    await withPairHere(
      { both: { udp: narrow, packetLength: 1350 } },
      async ({ dialled, accepted, client, server }) => {
        serveEcho(accepted);
        const stream = dialled.openStream();
        const reading = readAll(stream);
        await stream.end(Buffer.alloc(100_000, 1));
        expect(await reading).toEqual(Buffer.alloc(100_000, 1));
        for (const { connectionCount } of [client, server]) expect(connectionCount).toBe(1);
      },
    );
  });

  it("counts packets, bytes and streams", async () => {
    await withPairHere({ both: { packetLength: 1350 } }, async ({ dialled, accepted, client }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      expect(dialled.stats().streamCount).toBe(1);
      await stream.end(Buffer.alloc(100_000));
      await readAll(stream);
      const stats = dialled.stats();
      expect(stats.receivedBytes).toBeGreaterThan(100_000);
      expect(stats.sentBytes).toBeGreaterThan(100_000);
      expect(stats.receivedPacketCount).toBeGreaterThan(75);
      expect(stats.handshakeMs).toBeGreaterThan(0);
      expect(stats.congestionWindowBytes).toBeGreaterThan(0);
      expect(client.stats().sentDatagramCount).toBeGreaterThan(75);
      const { sendErrorCount, datagramsPerSendCall, datagramsPerReceiveCall } = client.stats();
      expect(sendErrorCount).toBe(0);
      if (udp === "dgram") expect([datagramsPerSendCall, datagramsPerReceiveCall]).toEqual([1, 1]);
      else expect(Math.min(datagramsPerSendCall, datagramsPerReceiveCall)).toBeGreaterThan(2);
    });
  });

  it("writes TLS secrets to the key log", async () => {
    const directory = await mkdtemp(join(tmpdir(), "quic-"));
    const keyLogPath = join(directory, "keys.log");
    await withPairHere({ client: { keyLogPath } }, async () => {
      expect(await readFile(keyLogPath, "utf8")).toMatch(
        /^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]+ [0-9a-f]+$/m,
      );
      expect((await stat(keyLogPath)).mode & 0o777).toBe(0o600);
    });
    await rm(directory, { recursive: true });
  });

  it.each(["cubic", "reno", "bbr"] as const)("moves bytes under %s", async (congestionControl) => {
    await withPairHere({ both: { congestionControl } }, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.alloc(500_000));
      expect(await readAll(stream)).toHaveLength(500_000);
    });
  });

  it.each(["receive", "turn"] as const)(
    "alone is dropped, and said to be, when its %s goes wrong",
    async (method) => {
      const logger = { warn: vi.fn(), debug: vi.fn() };
      await withPairHere({ server: { logger } }, async ({ client, server, dialled, accepted }) => {
        const other = await client.dial(server.address);
        assert(accepted instanceof QuicheConnection);
        vi.spyOn(accepted, method).mockImplementation(() => {
          throw new Error("bug");
        });
        await dialled.openStream().end(Buffer.from("hello"));
        expect(await accepted.closed).toMatchObject({ by: "lost" });
        expect(() => accepted.openStream()).toThrow(/Cannot go on .* bug/);
        expect(logger.warn).toHaveBeenCalledOnce();
        expect(server.connectionCount).toBe(1);
        expect(other.isOpen).toBe(true);
        expect((await client.dial(server.address)).isOpen).toBe(true);
      });
    },
  );

  it("comes about at the next attempt where it could not at the first", async () => {
    const logger = { warn: vi.fn(), debug: vi.fn() };
    const limits = { halfOpenCountMax: 1 };
    await withPairHere({ server: { logger, limits } }, async ({ client, server }) => {
      assert("configs" in server && server.configs instanceof NativeConfigs);
      vi.spyOn(server.configs, "get").mockImplementationOnce(() => {
        throw new Error("bug");
      });
      expect((await client.dial(server.address)).isOpen).toBe(true);
      expect(logger.warn).toHaveBeenCalledOnce();
      expect(server.stats().droppedDatagramCount).toBe(1);
    });
  });

  it("is closed when its handler throws", async () => {
    const accept = (): void => {
      throw new Error("bug");
    };
    const server = await openQuicEndpoint({ ...INSECURE, accept });
    const client = await openQuicEndpoint(INSECURE);
    const connection = await client.dial(server.address);
    expect(await connection.closed).toMatchObject({ by: "peer", code: 0 });
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
});
