import { describe, expect, it } from "vitest";
import type { QuicStream } from "./quic.ts";
import { type Datagram, MemoryNetwork } from "./testing/memory-network.ts";
import { createQueue, withPair } from "./testing/open-pair.ts";
import { createRandom } from "./testing/random.ts";
import { failureOf, pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";

/** `QUIC_CANCELS=10000` looks longer. */
const CANCEL_COUNT = Number(process.env["QUIC_CANCELS"] ?? 1000);

describe("QuicEndpoint", () => {
  it("is not troubled by what others make of its datagrams", async () => {
    const network = new MemoryNetwork();
    const random = createRandom(4);
    network.onDatagram = (datagram) => {
      for (const forgery of forge(datagram, random)) network.inject(forgery);
      return true;
    };
    await withPair(
      { both: { udp: network.open, packetLength: 1350 } },
      async ({ server, client, dialled, accepted }) => {
        serveEcho(accepted);
        const stream = dialled.openStream();
        const content = pattern(300_000);
        const reading = readAll(stream);
        await stream.end(content);
        expect((await reading).equals(content)).toBe(true);
        expect(server.stats().acceptedCount).toBe(1);
        expect(dialled.isOpen && accepted.isOpen).toBe(true);
        network.onDatagram = undefined;
        const second = await client.dial(server.address);
        expect(second.isOpen).toBe(true);
      },
    );
  });

  it("serves others while one peer resets and stops whatever it opens", async () => {
    const network = new MemoryNetwork();
    const both = { udp: network.open, packetLength: 1350 };
    await withPair({ both }, async ({ server, client, dialled, accepted }) => {
      accepted.onStream = (stream) => void serveLong(stream);
      const honest = await client.dial(server.address);
      for (let round = 0; round < 20; round++) {
        const streams = Array.from({ length: 50 }, () => dialled.openStream());
        await Promise.all(streams.map((stream) => stream.write(pattern(2000))));
        for (const stream of streams) {
          stream.reset(1);
          stream.stopReading(1);
        }
      }
      expect(honest.isOpen && dialled.isOpen).toBe(true);
      await expect.poll(() => accepted.stats().streamCount, { timeout: 20_000 }).toBe(0);
      expect(dialled.stats().streamCount).toBe(0);
    });
  });

  it("takes streams that arrive a byte a packet", async () => {
    const network = new MemoryNetwork();
    await withPair({ both: { udp: network.open } }, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      for (let index = 0; index < 300; index++) {
        await stream.write(pattern(1, index));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await stream.end();
      expect((await readAll(stream)).equals(pattern(300))).toBe(true);
    });
  });

  it("holds no more of a stream that nobody reads than its window", async () => {
    const network = new MemoryNetwork();
    const limits = { peerStreamWindow: 20_000 };
    await withPair(
      { both: { udp: network.open, packetLength: 1350 }, server: { limits } },
      async ({ dialled, accepted }) => {
        const incoming = createQueue<QuicStream>();
        accepted.onStream = incoming.push;
        const streams = Array.from({ length: 50 }, () => dialled.openStream());
        const writing = streams.map((stream) => failureOf(stream.write(Buffer.alloc(200_000))));
        const taken = await Promise.all(streams.map(() => incoming.shift()));
        await Promise.all(taken.map((stream) => stream.read(Buffer.alloc(1))));
        for (let turn = 0; turn < 100; turn++) await new Promise((done) => setImmediate(done));
        // Windows, and what the packets around them take.
        expect(accepted.stats().receivedBytes).toBeLessThan(50 * 20_000 * 1.2);
        for (const stream of taken) stream.stopReading(1);
        for (const failure of await Promise.all(writing)) {
          expect(failure).toMatchObject({ code: "ERR_STREAM_STOPPED" });
        }
      },
    );
  });

  it("answers a small request while a large answer is on its way, and lets timers run", async () => {
    const network = new MemoryNetwork();
    const both = { udp: network.open, packetLength: 16_383 };
    await withPair({ both }, async ({ server, client, dialled, accepted }) => {
      const order: string[] = [];
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      accepted.onStream = (stream) => void stream.end(Buffer.alloc(60_000_000));
      const fat = dialled.openStream();
      await fat.end(Buffer.from("go"));
      await fat.read(Buffer.alloc(1000));
      const fatDone = drain(fat).then(() => order.push("large"));
      const other = await client.dial(server.address);
      const small = other.openStream();
      await small.end(Buffer.from("go"));
      small.stopReading(0);
      order.push("small");
      const ticksBefore = ticks;
      await fatDone;
      clearInterval(timer);
      expect(order).toEqual(["small", "large"]);
      expect(ticks).toBeGreaterThan(ticksBefore);
    });
  });

  it(`forgets ${CANCEL_COUNT} streams that were cancelled in every way`, async () => {
    const network = new MemoryNetwork();
    const both = { udp: network.open, packetLength: 1350 };
    await withPair({ both }, async ({ dialled, accepted }) => {
      accepted.onStream = (stream) => void serveLong(stream);
      for (let count = 0; count < CANCEL_COUNT; count += 4) {
        const streams = Array.from({ length: 4 }, () => dialled.openStream());
        await Promise.all(streams.map((stream) => stream.write(pattern(500))));
        const [first, second, third, fourth] = streams;
        if (!first || !second || !third || !fourth) throw new Error("four were opened");
        first.stopReading(1);
        await first.end(pattern(5));
        second.reset(1);
        second.stopReading(1);
        await third.end();
        await third.read(Buffer.alloc(100));
        third.stopReading(1);
        fourth.reset(1);
        fourth.stopReading(1);
      }
      await expect.poll(() => accepted.stats().streamCount, { timeout: 20_000 }).toBe(0);
      expect(dialled.stats().streamCount).toBe(0);
      serveEcho(accepted);
      const honest = dialled.openStream();
      const reading = readAll(honest);
      await honest.end(pattern(500_000));
      expect((await reading).equals(pattern(500_000))).toBe(true);
    });
  });
});

async function serveLong(stream: QuicStream): Promise<void> {
  const writing = stream.end(Buffer.alloc(100_000)).catch(() => undefined);
  await readAll(stream).catch(() => undefined);
  await writing;
}

async function drain(stream: QuicStream): Promise<void> {
  const buffer = Buffer.alloc(65_536);
  while ((await stream.read(buffer)) > 0);
}

/** What somebody on the path, or off it, could make of a datagram. */
function* forge({ bytes, from, to }: Datagram, random: () => number): Generator<Datagram> {
  const at = Math.floor(random() * bytes.byteLength);
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << Math.floor(random() * 8));
  yield { bytes: flipped, from, to };
  yield { bytes: bytes.subarray(0, at), from, to };
  yield { bytes: Buffer.concat([bytes, bytes.subarray(0, at)]), from, to };
  yield { bytes, from, to };
  const junk = Buffer.from(bytes);
  for (let index = 20; index < junk.byteLength; index++) junk[index] = Math.floor(random() * 256);
  yield { bytes: junk, from: { ip: "127.0.0.9", port: 9 }, to };
}
