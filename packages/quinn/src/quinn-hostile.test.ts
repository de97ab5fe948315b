import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { QuicConnection } from "@damselfly/quic";
import { afterEach, describe, expect, it } from "vitest";
import { createIdentity } from "./identity.ts";
import type { QuinnEndpoint } from "./quinn.ts";
import { openQuinnEndpoint } from "./quinn-endpoint.ts";
import { LOOPBACK, UNAVAILABLE } from "./testing/quinn-pair.ts";

/*
 * quinn bounds by itself what it answers (RFC 9000, section 8): these tests are there to notice a version that does not. It looks at the
 * bound before a datagram and not behind it, so the last one may go over: 3,738 bytes for 1,200 with the version at hand.
 */

const opened: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

async function open(accept?: (connection: QuicConnection) => void): Promise<QuinnEndpoint> {
  const endpoint = await openQuinnEndpoint({
    address: LOOPBACK,
    alpn: "test",
    ...(accept === undefined ? {} : { accept, isKnownPeer: () => true }),
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
async function recordInitial(): Promise<Buffer> {
  const client = await open();
  const trap = await bind();
  const { peerKey } = createIdentity();
  const target = { ip: LOOPBACK.ip, port: trap.address().port };
  client.dial(target, { peerKey, timeoutMs: 20_000 }).catch(() => undefined);
  const [datagram]: Buffer[] = await once(trap, "message");
  return datagram ?? Buffer.alloc(0);
}

async function openVictim({ address }: QuinnEndpoint): Promise<{
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
        socket.send(datagram, address.port, address.ip, (error) =>
          error === null ? resolve() : reject(error),
        );
      }),
  };
}

async function assertServes(server: QuinnEndpoint): Promise<void> {
  const client = await open();
  const connection = await client.dial(server.address, { peerKey: server.peerKey });
  expect(connection.isOpen).toBe(true);
  connection.close(0);
}

describe.skipIf(UNAVAILABLE !== undefined)("an address that is not proven", () => {
  it("is sent three times what came from it at most, and the rest of a datagram", async () => {
    const server = await open(() => {});
    const initial = await recordInitial();
    const victim = await openVictim(server);
    await victim.send(initial);
    await expect.poll(victim.receivedLength).toBeGreaterThan(0);
    // It repeats itself after 1, 2 and 4 s: only time shows that it does not go on.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect(victim.receivedLength()).toBeLessThan(4 * initial.byteLength);
    await assertServes(server);
  });
});

describe.skipIf(UNAVAILABLE !== undefined)("a flood", () => {
  it.each([
    ["of packets for connections that nobody knows", 1200, 0x40],
    ["of packets too short to be any", 5, 0x40],
    ["of first packets that hold nothing", 1200, 0xc0],
  ])("%s is answered with less, and harms nobody", async (_, length, first) => {
    const server = await open(() => {});
    const victim = await openVictim(server);
    const before = process.memoryUsage().rss;
    for (let count = 0; count < 20_000; count += 1) {
      const datagram = randomBytes(length);
      datagram[0] = first;
      if (first === 0xc0) datagram.set([0, 0, 0, 1, 8], 1);
      await victim.send(datagram);
    }
    await assertServes(server);
    expect(victim.receivedLength()).toBeLessThan(20_000 * length);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
  });
});
