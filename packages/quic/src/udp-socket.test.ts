import { randomBytes } from "node:crypto";
import { constants, platform } from "node:os";
import { describe, expect, it } from "vitest";
import { openDgramSocket } from "./dgram-socket.ts";
import { MessageDrain } from "./message-drain.ts";
import { GsoSocket } from "./gso-socket.ts";
import { type Libc, loadLibc } from "./load-libc.ts";
import { LOOPBACK } from "./testing/open-pair.ts";
import { shortPacket } from "./testing/short-packet.ts";
import { failureOf } from "./testing/stream-bytes.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";
import type { UdpSocket, UdpSocketFactory, UdpSocketOptions } from "./udp-socket.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";

const ID = randomBytes(16);

/** A socket that keeps what it hears. */
async function open(
  openSocket: UdpSocketFactory,
  options: Partial<UdpSocketOptions> = {},
): Promise<UdpSocket & { readonly heard: Heard }> {
  const heard: Heard = { datagrams: [], from: [], errors: [], small: [], plain: [] };
  const socket = await openSocket({
    address: LOOPBACK,
    bufferLength: 1024 * 1024,
    onMessage(datagram, ip, port) {
      heard.datagrams.push(Buffer.from(datagram));
      heard.from.push({ ip, port });
    },
    onError: (error, ip, port, length) => void heard.errors.push({ error, ip, port, length }),
    onSmallBuffer: (granted) => void heard.small.push(granted),
    isOwnId: (key) => key === ID.toString("latin1"),
    onPlain: (cause) => void heard.plain.push(cause.message),
    ...options,
  });
  return Object.assign(socket, { heard });
}

interface Heard {
  readonly datagrams: Buffer[];
  readonly from: { readonly ip: string; readonly port: number }[];
  readonly errors: unknown[];
  readonly small: unknown[];
  readonly plain: string[];
}

/** Sends `datagrams`, all but the last of `segmentLength`, in one call. */
function sendAll(from: UdpSocket, datagrams: readonly Buffer[], to: UdpSocket): void {
  const buffer = from.takeBuffer();
  const bytes = Buffer.concat(datagrams);
  buffer.set(bytes);
  const segmentLength = datagrams[0]?.byteLength ?? 1;
  from.send(buffer, bytes.byteLength, segmentLength, to.address.ip, to.address.port);
}

/** `count` datagrams, told apart by their filling, the last of `lastLength`. */
function packets(count: number, length: number, lastLength: number = length): Buffer[] {
  return Array.from({ length: count }, (_, index) =>
    shortPacket(ID, index === count - 1 ? lastLength : length, index),
  );
}

describe.each(UDP_KINDS)("UdpSocket: %s", (kind) => {
  const openSocket = udpSocketFactory(kind);

  it.each([
    ["one datagram", packets(1, 1200)],
    ["full buffers' worth", packets(48, 1350)],
    ["a shorter last one", packets(10, 1350, 100)],
    ["a last one without an id", packets(3, 1350, 2)],
    ["large datagrams", packets(3, 16_383, 5)],
    ["more than a kernel takes at once", packets(200, 300, 200)],
  ])("delivers %s as they were sent, in order", async (_, datagrams) => {
    const sender = await open(openSocket);
    const receiver = await open(openSocket);
    sendAll(sender, datagrams, receiver);
    await expect.poll(() => receiver.heard.datagrams.length).toBe(datagrams.length);
    expect(Buffer.concat(receiver.heard.datagrams).equals(Buffer.concat(datagrams))).toBe(true);
    expect(receiver.heard.datagrams.map((datagram) => datagram.byteLength)).toEqual(
      datagrams.map((datagram) => datagram.byteLength),
    );
    expect(new Set(receiver.heard.from.map(({ port }) => port))).toEqual(
      new Set([sender.address.port]),
    );
    expect(sender.heard).toMatchObject({ errors: [], plain: [] });
    await sender.close();
    await receiver.close();
  });

  it("serves peers of different packet lengths in turn", async () => {
    const sender = await open(openSocket);
    const one = await open(openSocket);
    const other = await open(openSocket);
    for (let round = 0; round < 5; round++) {
      sendAll(sender, packets(3, 1200, 700), one);
      sendAll(sender, packets(4, 9000), other);
    }
    await expect.poll(() => other.heard.datagrams.length).toBe(20);
    await expect.poll(() => one.heard.datagrams.length).toBe(15);
    expect(new Set(other.heard.datagrams.map((datagram) => datagram.byteLength))).toEqual(
      new Set([9000]),
    );
    for (const socket of [sender, one, other]) await socket.close();
  });

  it("brings a burst of many senders, each message with its own", async () => {
    const receiver = await open(openSocket);
    const senders = await Promise.all(Array.from({ length: 5 }, () => open(openSocket)));
    // They all wait in the kernel before the event loop looks: some come one by one, some many at a time.
    for (let index = 0; index < 100; index++) {
      const sender = senders[index % senders.length];
      if (sender !== undefined) sendAll(sender, [shortPacket(ID, 600, index)], receiver);
    }
    await expect.poll(() => receiver.heard.datagrams.length).toBe(100);
    const ports = senders.map(({ address }) => address.port);
    expect(receiver.heard.from.map(({ port }) => port)).toEqual(
      Array.from({ length: 100 }, (_, index) => ports[index % ports.length]),
    );
    expect(receiver.heard.from.every(({ ip }) => ip === LOOPBACK.ip)).toBe(true);
    const sent = Array.from({ length: 100 }, (_, index) => shortPacket(ID, 600, index));
    expect(Buffer.concat(receiver.heard.datagrams).equals(Buffer.concat(sent))).toBe(true);
    if (kind === "gso") expect(receiver.counters.receiveCallCount).toBeLessThan(60);
    for (const socket of [receiver, ...senders]) await socket.close();
  });

  it("brings nothing more once it has been closed from within a message", async () => {
    let count = 0;
    const receiver = await open(openSocket, {
      onMessage() {
        count++;
        if (count === 5) void receiver.close();
      },
    });
    const sender = await open(openSocket);
    for (let index = 0; index < 50; index++)
      sendAll(sender, [shortPacket(ID, 100 + index, index)], receiver);
    await expect.poll(() => count).toBe(5);
    await receiver.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(count).toBe(5);
    await sender.close();
  });

  it("speaks IPv6", async () => {
    const address = { ip: "::1", port: 0 };
    const sender = await open(openSocket, { address });
    const receiver = await open(openSocket, { address });
    sendAll(sender, packets(3, 1350), receiver);
    await expect.poll(() => receiver.heard.datagrams.length).toBe(3);
    expect(receiver.heard.from[0]).toEqual(sender.address);
    await sender.close();
    await receiver.close();
  });

  it("passes on what is no packet at all", async () => {
    const sender = await open(openSocket);
    const receiver = await open(openSocket);
    sendAll(sender, [Buffer.from([0xc0])], receiver);
    sendAll(sender, [Buffer.from("hello")], receiver);
    await expect.poll(() => receiver.heard.datagrams).toHaveLength(2);
    await sender.close();
    await receiver.close();
  });

  it("takes its buffers back once they are sent", async () => {
    const sender = await open(openSocket);
    const buffer = sender.takeBuffer();
    sender.send(buffer, 100, 100, LOOPBACK.ip, sender.address.port);
    await expect.poll(() => sender.heard.datagrams.length).toBe(1);
    expect(sender.takeBuffer()).toBe(buffer);
    await sender.close();
  });

  it("counts calls and tells of datagrams that cannot be sent", async () => {
    const socket = await open(openSocket);
    socket.send(socket.takeBuffer(), 100, 100, "255.255.255.255", 9);
    await expect.poll(() => socket.heard.errors).toHaveLength(1);
    expect(socket.heard.errors[0]).toMatchObject({
      error: { code: "EACCES" },
      ip: "255.255.255.255",
      port: 9,
      length: 100,
    });
    sendAll(socket, packets(2, 1200), socket);
    await expect.poll(() => socket.heard.datagrams.length).toBe(2);
    expect(socket.counters.sendErrorCount).toBe(1);
    expect(socket.counters.sendCallCount).toBeGreaterThan(1);
    expect(socket.counters.receiveCallCount).toBe(kind === "dgram" ? 2 : 1);
    await socket.close();
  });

  it("sends nothing once closed, and frees its port", async () => {
    const socket = await open(openSocket);
    const { address } = socket;
    expect(await failureOf(open(openSocket, { address }))).toMatchObject({ code: "EADDRINUSE" });
    await socket.close();
    const next = await open(openSocket, { address });
    sendAll(socket, packets(1, 1200), next);
    sendAll(next, packets(1, 500), next);
    await expect.poll(() => next.heard.datagrams.length).toBe(1);
    expect(next.heard.datagrams[0]?.byteLength).toBe(500);
    await next.close();
    await socket.close();
  });

  it("tells once of small buffers", async () => {
    const socket = await open(openSocket, { bufferLength: 1024 ** 3 });
    expect(socket.heard.small).toEqual([{ receive: expect.any(Number), send: expect.any(Number) }]);
    await socket.close();
  });
});

describe("udp: auto", () => {
  it("takes the best that can be had", async () => {
    const socket = await open(udpSocketFactory("auto"));
    expect(socket instanceof GsoSocket).toBe(UDP_KINDS.includes("gso"));
    expect(socket.heard.plain).toHaveLength(UDP_KINDS.includes("gso") ? 0 : 1);
    await socket.close();
  });

  it("tells of an address that is taken", async () => {
    const socket = await open(udpSocketFactory("auto"));
    expect(
      await failureOf(open(udpSocketFactory("auto"), { address: socket.address })),
    ).toMatchObject({
      code: "EADDRINUSE",
    });
    await socket.close();
  });
});

describe.runIf(platform() === "linux" && UDP_KINDS.includes("gso"))("GsoSocket", () => {
  /** A socket over a C library whose `sendmsg` fails with what `failing` returns, and works where that is 0. */
  async function openFailing(failing: (call: number) => number): ReturnType<typeof open> {
    const real = await loadLibc();
    let call = 0;
    let errno = 0;
    return open(async (options) => {
      const plain = await openDgramSocket(options);
      const libc: Libc = {
        ...real,
        // What would have worked is shown to work by leaving it out.
        sendmsg: () => {
          errno = failing(call++);
          return errno === 0 ? 1 : -1;
        },
        errno: () => errno,
      };
      const drain = new MessageDrain(libc, -1, options.onMessage);
      return new GsoSocket(plain, { libc, fd: -1, options, drain });
    });
  }

  it.each(["EIO", "EINVAL"] as const)("sends one by one for good after %s", async (code) => {
    let calls = 0;
    const sender = await openFailing(() => {
      calls++;
      return constants.errno[code];
    });
    const receiver = await open(openDgramSocket);
    sendAll(sender, packets(5, 1200, 100), receiver);
    sendAll(sender, packets(2, 1350), receiver);
    await expect.poll(() => receiver.heard.datagrams.length).toBe(7);
    expect(Buffer.concat(receiver.heard.datagrams.slice(0, 5))).toEqual(
      Buffer.concat(packets(5, 1200, 100)),
    );
    expect(calls).toBe(1);
    expect(sender.heard.plain).toEqual([expect.stringContaining(code)]);
    await sender.close();
    await receiver.close();
  });

  it.each(["EMSGSIZE", "EINVAL"] as const)(
    "sends longer ones one by one to that peer after %s",
    async (code) => {
      let calls = 0;
      const sender = await openFailing(() => {
        calls++;
        return constants.errno[code];
      });
      const receiver = await open(openDgramSocket);
      sendAll(sender, packets(3, 9000), receiver);
      sendAll(sender, packets(3, 9000), receiver);
      expect(calls).toBe(1);
      sendAll(sender, packets(3, 1350), receiver);
      expect(calls).toBe(2);
      await expect.poll(() => receiver.heard.datagrams.length).toBe(9);
      await sender.close();
      await receiver.close();
    },
  );

  it("queues behind what the kernel has no room for, and comes back", async () => {
    let calls = 0;
    const sender = await openFailing((call) => {
      calls++;
      return call === 0 ? constants.errno.EAGAIN : 0;
    });
    const receiver = await open(openDgramSocket);
    sendAll(sender, packets(3, 1350), receiver);
    sendAll(sender, packets(3, 1200), receiver);
    expect(calls).toBe(1);
    await expect.poll(() => receiver.heard.datagrams.length).toBe(6);
    sendAll(sender, packets(3, 1350), receiver);
    expect(calls).toBe(2);
    await sender.close();
    await receiver.close();
  });

  it("sends the rest one by one when a later call fails", async () => {
    const sender = await openFailing((call) => (call === 1 ? constants.errno.EIO : 0));
    const receiver = await open(openDgramSocket);
    const datagrams = packets(100, 300, 50);
    sendAll(sender, datagrams, receiver);
    await expect.poll(() => receiver.heard.datagrams.length).toBe(36);
    expect(Buffer.concat(receiver.heard.datagrams)).toEqual(Buffer.concat(datagrams.slice(64)));
    await sender.close();
    await receiver.close();
  });

  it("leaves addresses with a zone to Node", async () => {
    const sender = await openFailing(() => 0);
    sender.send(sender.takeBuffer(), 100, 100, "fe80::1%nowhere", 9);
    await expect.poll(() => sender.heard.errors).toHaveLength(1);
    await sender.close();
  });
});
