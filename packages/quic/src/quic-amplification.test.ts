import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { afterEach, describe, expect, it } from "vitest";
import type { QuicEndpoint, QuicEndpointOptions } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { NativeClient } from "./testing/native-client.ts";
import { LOOPBACK } from "./testing/open-pair.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

/*
 * What an endpoint may be made to send to an address that has not shown that it asked: RFC 9000, section 8. Whoever lies about his
 * address must not get more out of it than three times what he puts in, however long he waits; counted in bytes on the wire.
 */

const opened: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

async function open(options: Partial<QuicEndpointOptions>): Promise<QuicEndpoint> {
  const endpoint = await openQuicEndpoint({
    address: LOOPBACK,
    alpn: "test",
    tls: "insecure",
    ...options,
  });
  opened.push(() => endpoint[Symbol.asyncDispose]());
  return endpoint;
}

async function bind(): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, LOOPBACK.ip);
  await once(socket, "listening");
  opened.push(() => void socket.close());
  return socket;
}

/** The first datagram of a real dialler, which never gets an answer. */
async function recordInitial(options: Partial<QuicEndpointOptions>): Promise<Buffer> {
  const client = await open(options);
  const trap = await bind();
  const failing = failureOf(client.dial({ ip: LOOPBACK.ip, port: trap.address().port }));
  const [datagram]: Buffer[] = await once(trap, "message");
  await client.abort();
  await failing;
  return datagram ?? Buffer.alloc(0);
}

/** Somebody in whose name others write. Counts what he is sent for it. */
async function openVictim(server: QuicEndpoint): Promise<{
  readonly receivedLength: () => number;
  readonly send: (datagram: Uint8Array) => Promise<void>;
}> {
  const socket = await bind();
  let receivedLength = 0;
  socket.on("message", (datagram) => (receivedLength += datagram.byteLength));
  return {
    receivedLength: () => receivedLength,
    send: (datagram) =>
      new Promise((resolve, reject) => {
        const { ip, port } = server.address;
        socket.send(datagram, port, ip, (error) => (error === null ? resolve() : reject(error)));
      }),
  };
}

describe("an address that is not proven", () => {
  it("is sent three times what came from it at most, to the end of the handshake", async () => {
    const authority = await createTestAuthority();
    // So long a certificate that the server has much more to say than it may.
    const names = Array.from({ length: 400 }, (_, index) => `node-${index}.cluster.example`);
    const tls = await authority.issue({ dnsNames: ["d7y", ...names] });
    const server = await open({ tls, accept: serveEcho });
    const initial = await recordInitial({ tls: await authority.issue() });
    const [once_, often] = [await openVictim(server), await openVictim(server)];
    await once_.send(initial);
    await expect.poll(once_.receivedLength).toBeGreaterThan(initial.byteLength);
    // Who repeats himself has what was sent to him repeated.
    const again = await recordInitial({ tls: await authority.issue() });
    for (let count = 1; count <= 20; count++) {
      await often.send(again);
      await expect.poll(often.receivedLength).toBeGreaterThan(2 * count * again.byteLength);
      expect(often.receivedLength()).toBeLessThanOrEqual(3 * count * again.byteLength);
    }
    // Nor does what others send in his place: this is the same packet, from another address.
    const aside = await recordInitial({ tls: await authority.issue() });
    const [quiet, other] = [await openVictim(server), await openVictim(server)];
    await quiet.send(aside);
    await expect.poll(quiet.receivedLength).toBeGreaterThan(2 * aside.byteLength);
    for (let count = 0; count < 20; count++) await other.send(aside);
    // Everything else that the server repeats is over when it gives the handshakes up.
    await expect.poll(() => server.connectionCount, { timeout: 25_000 }).toBe(0);
    expect(once_.receivedLength()).toBeGreaterThan(2 * initial.byteLength);
    expect(once_.receivedLength()).toBeLessThanOrEqual(3 * initial.byteLength);
    expect(often.receivedLength()).toBeLessThanOrEqual(3 * 20 * again.byteLength);
    expect(quiet.receivedLength()).toBeLessThanOrEqual(3 * aside.byteLength);
  }, 40_000);

  it("is sent no more where certificates are short, however often the server repeats itself", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue({ dnsNames: ["d7y"] });
    const server = await open({ tls, accept: serveEcho });
    const victims = [];
    for (const sendCount of [1, 2]) {
      const initial = await recordInitial({ tls: await authority.issue() });
      const victim = await openVictim(server);
      for (let count = 0; count < sendCount; count++) await victim.send(initial);
      victims.push({ victim, lengthMax: 3 * sendCount * initial.byteLength });
    }
    await expect.poll(() => server.connectionCount).toBe(2);
    await expect.poll(() => server.connectionCount, { timeout: 25_000 }).toBe(0);
    for (const { victim, lengthMax } of victims) {
      expect(victim.receivedLength()).toBeGreaterThan(lengthMax / 3);
      expect(victim.receivedLength()).toBeLessThanOrEqual(lengthMax);
    }
  }, 40_000);

  it.each([
    ["asked for a proof", 0],
    ["believed", 128],
  ])(
    "is not remembered when its handshake is given up, whether it was %s or not",
    async (_, retryHalfOpenCount) => {
      const network = new MemoryNetwork();
      const authority = await createTestAuthority();
      const [target, address] = [
        { ip: "198.51.100.1", port: 4006 },
        { ip: "198.51.100.2", port: 5000 },
      ];
      const server = await open({
        address: target,
        tls: await authority.issue({ dnsNames: ["d7y"] }),
        udp: network.open,
        idleTimeoutMs: 300_000,
        limits: { retryHalfOpenCount },
        accept: serveEcho,
      });
      const tls = await authority.issue();
      const client = await NativeClient.open(network, { address, target, alpn: "test", tls });
      opened.push(() => client[Symbol.asyncDispose]());
      // It does what a Retry asks of it, and hears nothing else.
      network.onDatagram = ({ bytes }) => ((bytes[0] ?? 0) & 0xf0) === 0xf0;
      client.flush();
      await expect.poll(() => server.connectionCount).toBe(1);
      client.send(client.sent.at(-1) ?? Buffer.alloc(0));
      expect(server.stats().retryCount).toBe(retryHalfOpenCount === 0 ? 1 : 0);
      await expect.poll(() => server.connectionCount, { timeout: 25_000 }).toBe(0);
      await expect.poll(() => server.stats().drainingConnectionCount, { timeout: 20_000 }).toBe(0);
    },
    60_000,
  );

  it.each<[string, (initial: Buffer) => Buffer, Partial<QuicEndpointOptions>]>([
    ["asked to prove itself", (initial) => initial, { limits: { retryHalfOpenCount: 0 } }],
    [
      "told of other versions",
      (initial) => {
        const other = Buffer.from(initial);
        other.writeUInt32BE(0xfafafafa, 1);
        return other;
      },
      {},
    ],
    [
      "told of a connection that is gone",
      () => {
        const short = randomBytes(1200);
        short[0] = 0x40;
        return short;
      },
      {},
    ],
  ])("is not sent more than it sent when it is %s", async (_, make, options) => {
    const server = await open({ accept: serveEcho, ...options });
    const datagram = make(await recordInitial({}));
    const victim = await openVictim(server);
    for (let count = 0; count < 20; count += 1) {
      await victim.send(datagram);
      await expect.poll(victim.receivedLength).toBeGreaterThan(0);
    }
    await expect.poll(() => server.stats().receivedDatagramCount).toBe(20);
    expect(victim.receivedLength()).toBeLessThanOrEqual(20 * datagram.byteLength);
  });

  it("is sent nothing for what is too short to be a first packet, or broken", async () => {
    const server = await open({ accept: serveEcho });
    const initial = await recordInitial({});
    const victim = await openVictim(server);
    const broken = Buffer.from(initial);
    broken.fill(0, 40);
    const wrongs = [
      initial.subarray(0, 1199),
      initial.subarray(0, 30),
      Buffer.from([0xc0]),
      Buffer.from([0x40]),
      randomBytes(20).fill(0x40, 0, 1),
      broken,
    ];
    for (const datagram of wrongs) await victim.send(datagram);
    await expect.poll(() => server.stats().receivedDatagramCount).toBe(wrongs.length);
    const client = await open({});
    const connection = await client.dial(server.address);
    const stream = connection.openStream();
    await stream.end(Buffer.from("hello"));
    expect((await readAll(stream)).toString()).toBe("hello");
    expect(victim.receivedLength()).toBe(0);
  });
});

describe("a flood", () => {
  it.each([
    ["of packets for connections that nobody knows", 1200, 0x40],
    ["of packets too short to be any", 5, 0x40],
    ["of first packets that hold nothing", 1200, 0xc0],
  ])(
    "%s is answered with little, forgotten, and harms nobody",
    async (_, length, first) => {
      const server = await open({ accept: serveEcho });
      const client = await open({});
      const connection = await client.dial(server.address);
      const victim = await openVictim(server);
      const ask = async (): Promise<string> => {
        const stream = connection.openStream();
        await stream.end(Buffer.from("hello"));
        return (await readAll(stream)).toString();
      };
      const startedAt = performance.now();
      const before = process.memoryUsage().rss;
      for (let count = 0; count < 20_000; count += 1) {
        const datagram = randomBytes(length);
        datagram[0] = first;
        if (first === 0xc0) datagram.set([0, 0, 0, 1, 8], 1);
        await victim.send(datagram);
        if (count % 1_000 === 0) expect(await ask()).toBe("hello");
      }
      expect(await ask()).toBe("hello");
      const seconds = (performance.now() - startedAt) / 1000;
      // A thousand at once, then 500 a second.
      expect(server.stats().resetSentCount).toBeLessThanOrEqual(1_000 + 500 * seconds);
      await expect.poll(() => server.connectionCount, { timeout: 15_000 }).toBe(1);
      expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
    },
    60_000,
  );
});
