import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { QuicConnection, QuicStream } from "@damselfly/quic";
import { createQueue, failureOf, readAll, serveEcho } from "@damselfly/quic/testing";
import { describe, expect, it, vi } from "vitest";
import { encodeMessage } from "./control-message.ts";
import { createIdentity } from "./identity.ts";
import type { QuinnEndpointOptions } from "./quinn.ts";
import { openQuinnEndpoint } from "./quinn-endpoint.ts";
import { LOOPBACK, UNAVAILABLE, withPair } from "./testing/quinn-pair.ts";
import { openRawDialler } from "./testing/raw-dialler.ts";

const COMMON = { address: LOOPBACK, alpn: "test" } as const;
const everybody = (): boolean => true;

describe.skipIf(UNAVAILABLE)("QuinnEndpoint", () => {
  it("listens and dials", async () => {
    await withPair({}, async ({ server, dialled, accepted }) => {
      expect(dialled.remoteAddress).toEqual(server.address);
      expect([dialled.isDialler, accepted.isDialler]).toEqual([true, false]);
      const other = await openQuinnEndpoint({
        ...COMMON,
        isKnownPeer: (key) => key === server.peerKey,
        accept: serveEcho,
      });
      const fromServer = await server.dial(other.address, { peerKey: other.peerKey });
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

  it("is the one whose key it was given", async () => {
    const { privateKey, peerKey } = createIdentity();
    await withPair({ server: { privateKey } }, async ({ server, dialled }) => {
      expect(server.peerKey).toBe(peerKey);
      expect(dialled.isOpen).toBe(true);
    });
    const opening = openQuinnEndpoint({ ...COMMON, privateKey: privateKey.subarray(1) });
    expect(await failureOf(opening)).toBeInstanceOf(TypeError);
  });

  it("refuses to talk to another than it dials", async () => {
    await withPair({}, async ({ client, server }) => {
      const { peerKey } = createIdentity();
      expect(await failureOf(client.dial(server.address, { peerKey }))).toMatchObject({
        code: "ERR_UNTRUSTED",
        message: expect.stringContaining(peerKey),
      });
      expect(await failureOf(client.dial(server.address))).toBeInstanceOf(TypeError);
      await expect.poll(() => server.connectionCount).toBe(1);
    });
  });

  it("turns away who is not known, before anything of it is read", async () => {
    const accepted: QuicConnection[] = [];
    const asked: string[] = [];
    const server = await openQuinnEndpoint({
      ...COMMON,
      isKnownPeer: (key) => {
        asked.push(key);
        return false;
      },
      accept: (connection) => accepted.push(connection),
    });
    const client = await openQuinnEndpoint(COMMON);
    const { peerKey } = server;
    const failure = await client.dial(server.address, { peerKey }).then(
      async (connection) => {
        const stream = connection.openStream();
        return failureOf(stream.end(Buffer.from("x")).then(() => readAll(stream)));
      },
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "ERR_UNTRUSTED" });
    expect(asked).toEqual([client.peerKey]);
    expect(accepted).toEqual([]);
    expect(server.stats()).toMatchObject({ refusedCount: 1, acceptedCount: 0, connectionCount: 0 });
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("gives up a dial that nobody answers", async () => {
    const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(nobody, "listening");
    const client = await openQuinnEndpoint({ ...COMMON, idleTimeoutMs: 60_000 });
    const target = { ip: LOOPBACK.ip, port: nobody.address().port };
    const { peerKey } = createIdentity();
    expect(await failureOf(client.dial(target, { peerKey, timeoutMs: 100 }))).toMatchObject({
      code: "ERR_DIAL_TIMEOUT",
    });
    expect(client.connectionCount).toBe(0);
    await client[Symbol.asyncDispose]();
    nobody.close();
  });

  it("gives up a dial when the signal aborts, with its reason, and when it is closed", async () => {
    const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(nobody, "listening");
    const client = await openQuinnEndpoint(COMMON);
    const target = { ip: LOOPBACK.ip, port: nobody.address().port };
    const { peerKey } = createIdentity();
    const reason = new Error("enough");
    const controller = new AbortController();
    const { signal } = controller;
    const dialling = failureOf(client.dial(target, { peerKey, signal }));
    await once(nobody, "message");
    controller.abort(reason);
    expect(await dialling).toBe(reason);
    expect(await failureOf(client.dial(target, { peerKey, signal }))).toBe(reason);
    const last = failureOf(client.dial(target, { peerKey }));
    await client[Symbol.asyncDispose]();
    expect(await last).toMatchObject({ code: "ERR_CLOSED" });
    nobody.close();
  });

  it("goes on after a hundred dials that nobody answered", async () => {
    const nobody = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(nobody, "listening");
    await withPair({}, async ({ client, server, dialled, accepted }) => {
      const target = { ip: LOOPBACK.ip, port: nobody.address().port };
      const { peerKey } = server;
      const dials = Array.from({ length: 100 }, () =>
        failureOf(client.dial(target, { peerKey, timeoutMs: 20 })),
      );
      for (const failure of await Promise.all(dials)) {
        expect(failure).toMatchObject({ code: "ERR_DIAL_TIMEOUT" });
      }
      const another = await client.dial(server.address, { peerKey });
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("old"));
      expect((await readAll(stream)).toString()).toBe("old");
      expect(another.isOpen).toBe(true);
    });
    nobody.close();
  });

  it("says at once that an address cannot be reached", async () => {
    const client = await openQuinnEndpoint(COMMON);
    const { peerKey } = createIdentity();
    const unreachable = { code: "ERR_UNREACHABLE" };
    const dial = (ip: string, port: number): Promise<unknown> =>
      failureOf(client.dial({ ip, port }, { peerKey }));
    expect(await dial("::1", 1)).toMatchObject(unreachable);
    expect(await dial("127.0.0.1", 0)).toMatchObject(unreachable);
    expect(await dial("0.0.0.0", 1)).toMatchObject(unreachable);
    expect(await dial("localhost", 1)).toBeInstanceOf(RangeError);
    await client[Symbol.asyncDispose]();
  });

  it("finds no common protocol with a peer that speaks another", async () => {
    const server = await openQuinnEndpoint({
      ...COMMON,
      alpn: "other",
      isKnownPeer: everybody,
      accept: serveEcho,
    });
    const client = await openQuinnEndpoint(COMMON);
    const connection = await client.dial(server.address, { peerKey: server.peerKey });
    await connection.closed;
    expect(() => connection.openStream()).toThrow("no application protocol in common");
    expect(server.stats().acceptedCount).toBe(0);
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  it("refuses connections beyond its limit, and takes the next when there is room", async () => {
    const limits = { connectionCountMax: 1 };
    await withPair({ server: { limits, isKnownPeer: everybody } }, async ({ server, dialled }) => {
      const { peerKey } = server;
      const second = await openQuinnEndpoint(COMMON);
      const attempt = second.dial(server.address, { peerKey }).then(async (connection) => {
        const stream = connection.openStream();
        return failureOf(stream.end().then(() => readAll(stream)));
      });
      expect(await attempt.catch((error: unknown) => error)).toMatchObject({ code: "ERR_REFUSED" });
      expect(server.stats()).toMatchObject({
        connectionCount: 1,
        refusedCount: 1,
        acceptedCount: 1,
      });
      const others = Array.from({ length: 100 }, async () => {
        const connection = await second.dial(server.address, { peerKey });
        const stream = connection.openStream();
        await stream.end();
        await readAll(stream);
      });
      for (const { status } of await Promise.allSettled(others)) expect(status).toBe("rejected");
      expect(server.stats()).toMatchObject({ connectionCount: 1, acceptedCount: 1 });
      dialled.close(0);
      await expect.poll(() => server.connectionCount).toBe(0);
      const third = await second.dial(server.address, { peerKey });
      expect(third.isOpen).toBe(true);
      await second[Symbol.asyncDispose]();
    });
  });

  it("refuses to dial beyond its own limit", async () => {
    const limits = { connectionCountMax: 1 };
    await withPair({ client: { limits } }, async ({ client, server }) => {
      const { peerKey } = server;
      expect(await failureOf(client.dial(server.address, { peerKey }))).toMatchObject({
        code: "ERR_REFUSED",
      });
    });
  });

  it("takes peers while others never finish their handshakes", async () => {
    await withPair({}, async ({ client, server }) => {
      const relay = createSocket("udp4").bind(0, LOOPBACK.ip);
      await once(relay, "listening");
      // First packets come through, answers do not.
      relay.on("message", (bytes) => relay.send(bytes, server.address.port, server.address.ip));
      const { peerKey } = server;
      const deaf = { ip: LOOPBACK.ip, port: relay.address().port };
      const stuck = Array.from({ length: 60 }, () =>
        failureOf(client.dial(deaf, { peerKey, timeoutMs: 2_000 })),
      );
      const honest = await client.dial(server.address, { peerKey });
      expect(honest.isOpen).toBe(true);
      for (const failure of await Promise.all(stuck)) {
        expect(failure).toMatchObject({ code: "ERR_DIAL_TIMEOUT" });
      }
      relay.close();
    });
  });

  it("closes those that say nothing for ten seconds, however many they are, and nobody else", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    // expect.poll would have that time pass.
    const until = async (isSo: () => boolean): Promise<void> => {
      while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
    };
    const server = await openQuinnEndpoint({
      ...COMMON,
      isKnownPeer: everybody,
      accept: serveEcho,
    });
    const dialler = openRawDialler();
    try {
      const late = await dialler.dial(server.address);
      const silent = await Promise.all(
        Array.from({ length: 100 }, () => dialler.dial(server.address)),
      );
      await until(() => server.connectionCount === 101);
      vi.advanceTimersByTime(9_999);
      expect(server.connectionCount).toBe(101);
      const control = await late.outboundStream();
      const hello = { alpn: "test", streamCountMax: 1, idleTimeoutMs: 60_000 };
      await control.write(encodeMessage({ kind: "hello", ...hello }));
      await until(() => server.stats().acceptedCount === 1);
      expect(server.connectionCount).toBe(101);
      vi.advanceTimersByTime(1);
      expect(server.connectionCount).toBe(1);
      // A native connection of which nobody knows any more closes itself.
      for (const native of [late, ...silent]) native.abort();
    } finally {
      vi.useRealTimers();
      dialler[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    }
  });

  it("rejects options out of bounds", async () => {
    const wrong: Partial<QuinnEndpointOptions>[] = [
      { address: { ip: "localhost", port: 0 } },
      { address: { ip: "127.0.0.1", port: 65_536 } },
      { alpn: "" },
      { idleTimeoutMs: -1 },
      { limits: { streamWindow: 0.5 } },
      { connectionWindow: -1 },
    ];
    for (const options of wrong) {
      const opening = openQuinnEndpoint({
        ...COMMON,
        accept: serveEcho,
        isKnownPeer: everybody,
        ...options,
      });
      expect(await failureOf(opening)).toBeInstanceOf(RangeError);
    }
    expect(await failureOf(openQuinnEndpoint({ ...COMMON, accept: serveEcho }))).toBeInstanceOf(
      TypeError,
    );
  });

  it("says that it has no key log", async () => {
    const warnings: string[] = [];
    const logger = {
      debug: () => undefined,
      warn: (_: object, text: string) => void warnings.push(text),
    };
    const endpoint = await openQuinnEndpoint({ ...COMMON, keyLogPath: "/none", logger });
    expect(warnings).toEqual([expect.stringContaining("has no key log")]);
    await endpoint[Symbol.asyncDispose]();
  });

  it("says which address is taken, and leaves it when it is closed", async () => {
    const options = { ...COMMON, accept: serveEcho, isKnownPeer: everybody };
    const server = await openQuinnEndpoint(options);
    const { address } = server;
    expect(await failureOf(openQuinnEndpoint({ ...options, address }))).toMatchObject({
      code: "ERR_ADDRESS",
      message: expect.stringContaining(`port ${address.port} on 127.0.0.1`),
    });
    await server[Symbol.asyncDispose]();
    const next = await openQuinnEndpoint({ ...options, address });
    await next.abort();
  });

  it("is closed once disposed, and twice", async () => {
    const client = await openQuinnEndpoint(COMMON);
    await client[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    await client.abort();
    const { peerKey } = createIdentity();
    expect(await failureOf(client.dial({ ip: "127.0.0.1", port: 1 }, { peerKey }))).toMatchObject({
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

describe.skipIf(UNAVAILABLE)("QuinnConnection", () => {
  it("carries code and reason of a close to the peer, and ends its streams", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
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
    await withPair({}, async ({ dialled, accepted }) => {
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

  it("settles what waits on both sides when it is closed here", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.write(Buffer.from("go"));
      const serving = await incoming.shift();
      const waiting = [
        failureOf(stream.read(new Uint8Array(1))),
        failureOf(serving.write(Buffer.alloc(60_000_000))),
        failureOf(dialled.openStream().read(new Uint8Array(1))),
      ];
      dialled.close(3);
      expect(await waiting[0]).toMatchObject({ code: "ERR_CLOSED" });
      expect(await waiting[1]).toMatchObject({ code: "ERR_CONNECTION_LOST", applicationCode: 3 });
      expect(await waiting[2]).toMatchObject({ code: "ERR_CLOSED" });
      expect(await serving.closed).toMatchObject({ code: "ERR_CONNECTION_LOST" });
    });
  });

  it("notices that the peer has died", async () => {
    await withPair({}, async ({ server, dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.write(Buffer.from("go"));
      const reading = failureOf(readAll(stream));
      await server.abort();
      expect(await accepted.closed).toMatchObject({ by: "lost" });
      expect(await dialled.closed).toMatchObject({ by: "peer" });
      expect(await reading).toMatchObject({ code: "ERR_CONNECTION_LOST" });
      expect(await stream.closed).toMatchObject({ code: "ERR_CONNECTION_LOST" });
    });
  });

  it("lives on while it is retained, and idles out afterwards", async () => {
    await withPair({ both: { idleTimeoutMs: 2_000 } }, async ({ dialled }) => {
      const releases = [dialled.retain(), dialled.retain()];
      releases[0]?.();
      releases[0]?.();
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      expect(dialled.isOpen).toBe(true);
      releases[1]?.();
      const { by } = await dialled.closed;
      expect(["idle-timeout", "lost"]).toContain(by); // lost: the peer's idle timer was first, and its reset told so
    });
  });

  it("counts packets, bytes and streams", async () => {
    await withPair({}, async ({ dialled, accepted, client, server }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      expect(dialled.stats().streamCount).toBe(1);
      await stream.end(Buffer.alloc(100_000));
      await readAll(stream);
      const stats = dialled.stats();
      expect(stats.receivedBytes).toBeGreaterThan(100_000);
      expect(stats.sentBytes).toBeGreaterThan(100_000);
      expect(stats.receivedPacketCount).toBeGreaterThan(50);
      expect(stats.handshakeMs).toBeGreaterThan(0);
      expect(stats.congestionWindowBytes).toBeGreaterThan(0);
      expect(client.stats().sentDatagramCount).toBeGreaterThan(50);
      expect(client.stats()).toMatchObject({ dialledCount: 1, connectionCount: 1 });
      dialled.close(0);
      await expect.poll(() => server.connectionCount).toBe(0);
      expect(server.stats().receivedDatagramCount).toBeGreaterThan(50);
    });
  });

  it("is closed when its handler throws", async () => {
    const server = await openQuinnEndpoint({
      ...COMMON,
      isKnownPeer: everybody,
      accept: () => {
        throw new Error("bug");
      },
    });
    const client = await openQuinnEndpoint(COMMON);
    const connection = await client.dial(server.address, { peerKey: server.peerKey });
    expect(await connection.closed).toMatchObject({ by: "peer", code: 0 });
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
});
