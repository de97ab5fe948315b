import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openLossy } from "./testing/lossy-socket.ts";
import { createQueue, pairOver } from "./testing/open-pair.ts";
import { failureOf, pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";
import type { QuicStream } from "./quic.ts";
import { UDP_KINDS } from "./testing/udp-kinds.ts";
import { udpSocketFactory } from "./udp-socket-factory.ts";

describe.each(UDP_KINDS)("QuicStream over %s", (udp) => {
  const withPair = pairOver(udp);

  it("echoes what was written", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("hello"));
      expect((await readAll(stream)).toString()).toBe("hello");
      expect(await stream.closed).toBeUndefined();
      expect(dialled.stats().streamCount).toBe(0);
    });
  });

  it("carries an empty message both ways", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end();
      expect(await readAll(stream)).toHaveLength(0);
    });
  });

  it("is opened by either side", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(dialled);
      const stream = accepted.openStream();
      await stream.end(Buffer.from("from the server"));
      expect((await readAll(stream)).toString()).toBe("from the server");
    });
  });

  it.each([1200, 1350, 16_383])("moves 8 MB exactly at %i bytes a packet", async (packetLength) => {
    await withPair({ both: { packetLength } }, async ({ dialled, accepted }) => {
      const content = pattern(8_000_000);
      accepted.onStream = (stream) => {
        void readAll(stream);
        stream.end(content).catch(() => stream.reset(1));
      };
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      expect(Buffer.compare(await readAll(stream), content)).toBe(0);
    });
  });

  it("delivers the same bytes however they are cut by writer and reader", async () => {
    await withPair(
      { both: { limits: { streamWindow: 50_000 } } },
      async ({ dialled, accepted }) => {
        serveEcho(accepted);
        const lengths = fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 8 });
        const reads = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 5 });
        await fc.assert(
          fc.asyncProperty(lengths, reads, async (writes, readLengths) => {
            const stream = dialled.openStream();
            const content = pattern(writes.reduce((sum, length) => sum + length, 0));
            let turn = 0;
            const nextLength = (): number => readLengths[turn++ % readLengths.length] ?? 1;
            const reading = readAll(stream, nextLength);
            let offset = 0;
            for (const length of writes) {
              await stream.write(content.subarray(offset, offset + length));
              offset += length;
            }
            await stream.end();
            expect(Buffer.compare(await reading, content)).toBe(0);
          }),
          { numRuns: 30 },
        );
      },
    );
  });

  it("has copied what it was given when a write resolves", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      const buffer = pattern(10_000);
      await stream.write(buffer);
      buffer.fill(0);
      await stream.end();
      expect(Buffer.compare(await readAll(stream), pattern(10_000))).toBe(0);
    });
  });

  it("carries messages both ways before any end", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.write(pattern(100));
      const serving = await incoming.shift();
      for (let round = 0; round < 5; round++) {
        expect(await readExactly(serving, 100)).toEqual(pattern(100, round));
        await serving.write(pattern(200, round));
        expect(await readExactly(stream, 200)).toEqual(pattern(200, round));
        await stream.write(pattern(100, round + 1));
      }
      await stream.end();
      await serving.end();
      expect(await stream.read(Buffer.alloc(1))).toBe(0);
      expect(await readAll(serving)).toEqual(pattern(100, 5));
    });
  });

  it("delivers everything over a path that loses, repeats and reorders", async () => {
    await withPair(
      { both: { udp: openLossy(udpSocketFactory(udp)), packetLength: 1350 } },
      async ({ dialled, accepted }) => {
        serveEcho(accepted);
        const echoes = Array.from({ length: 40 }, async (_, index) => {
          const stream = dialled.openStream();
          const content = pattern(index * 700, index);
          const reading = readAll(stream);
          await stream.end(content);
          return Buffer.compare(await reading, content);
        });
        expect(new Set(await Promise.all(echoes))).toEqual(new Set([0]));
        expect(dialled.stats().lostPacketCount).toBeGreaterThan(0);
      },
    );
  });

  it("runs a thousand at once", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async (_, index) => {
          const stream = dialled.openStream();
          await stream.end(pattern(1000 + index, index));
          return Buffer.compare(await readAll(stream), pattern(1000 + index, index));
        }),
      );
      expect(answers.every((difference) => difference === 0)).toBe(true);
      expect(dialled.stats()).toMatchObject({ streamCount: 0, openedStreamCount: 1000 });
      await expect.poll(() => accepted.stats().streamCount).toBe(0);
    });
  });

  it("holds the writer back while nobody reads", async () => {
    const limits = { streamWindow: 100_000 };
    await withPair({ both: { limits } }, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const serving = await incoming.shift();
      let taken = 0;
      const writing = (async () => {
        for (; taken < 10_000_000; taken += 50_000) await serving.write(pattern(50_000, taken));
        await serving.end();
      })();
      await expect.poll(() => taken).toBeGreaterThan(0);
      const other = dialled.openStream();
      serveEcho(accepted);
      await other.end(pattern(1000));
      await readAll(other); // time enough for the first one to run away
      expect(taken).toBeLessThan(1_000_000);
      expect(Buffer.compare(await readAll(stream), pattern(10_000_000))).toBe(0);
      await writing;
    });
  });

  it("gathers bytes up to the wanted length, but does not hold back a slow peer's", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const serving = await incoming.shift();
      await serving.write(pattern(1000));
      expect(await stream.read(new Uint8Array(500_000), 500_000)).toBe(1000);
      await serving.write(pattern(400_000));
      await serving.end();
      const buffer = new Uint8Array(500_000);
      let length = 0;
      for (let read; (read = await stream.read(buffer.subarray(length), 100_000)) > 0;)
        length += read;
      expect(length).toBe(400_000);
    });
  });

  it("tells the reader of the peer's reset and its code", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      accepted.onStream = (stream) => stream.reset(77);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      expect(await failureOf(stream.read(new Uint8Array(10)))).toMatchObject({
        code: "ERR_STREAM_RESET",
        applicationCode: 77,
      });
      expect(await stream.closed).toMatchObject({ code: "ERR_STREAM_RESET" });
    });
  });

  it("tells a blocked writer that the peer stopped reading", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const serving = await incoming.shift();
      const writing = failureOf(serving.write(Buffer.alloc(20_000_000)));
      await stream.read(new Uint8Array(1000));
      stream.stopReading(42);
      expect(await writing).toMatchObject({ code: "ERR_STREAM_STOPPED" });
      expect(await serving.closed).toMatchObject({ code: "ERR_STREAM_STOPPED" });
      expect(await failureOf(stream.read(new Uint8Array(10)))).toMatchObject({
        code: "ERR_CLOSED",
      });
    });
  });

  it("tells an idle writer that the peer stopped reading", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const streams = Array.from({ length: 300 }, () => dialled.openStream());
      await Promise.all(streams.map((stream) => stream.end(Buffer.from("go"))));
      const serving = await Promise.all(streams.map(() => incoming.shift()));
      await Promise.all(serving.map((each) => readAll(each)));
      for (const stream of streams) stream.stopReading(1);
      for (const each of serving)
        expect(await each.closed).toMatchObject({ code: "ERR_STREAM_STOPPED" });
      await expect.poll(() => accepted.stats().streamCount).toBe(0);
    });
  });

  it("stays usable after many streams were cancelled in every way", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const content = pattern(300_000);
      accepted.onStream = (stream) => {
        readAll(stream)
          .then((request) => {
            if (request.toString() === "reset") stream.reset(3);
            return stream.end(content);
          })
          .catch(() => undefined);
      };
      for (let round = 0; round < 50; round++) {
        const unread = dialled.openStream();
        await unread.end(Buffer.from("go"));
        unread.stopReading(1);
        const partly = dialled.openStream();
        await partly.end(Buffer.from("go"));
        await partly.read(new Uint8Array(1000));
        partly.stopReading(1);
        const reset = dialled.openStream();
        await reset.end(Buffer.from("reset"));
        await failureOf(readAll(reset));
        const unsent = dialled.openStream();
        unsent.reset(1);
        unsent.stopReading(1);
      }
      const honest = dialled.openStream();
      await honest.end(Buffer.from("go"));
      expect(Buffer.compare(await readAll(honest), content)).toBe(0);
      expect(dialled.stats().streamCount).toBe(0);
      expect(dialled.stats().abandonedStreamCount).toBe(100);
      await expect.poll(() => accepted.stats().streamCount).toBe(0);
    });
  });

  it("refuses wrong use", async () => {
    await withPair({}, async ({ dialled }) => {
      const stream = dialled.openStream();
      expect(await failureOf(stream.read(new Uint8Array(0)))).toBeInstanceOf(RangeError);
      expect(await failureOf(stream.read(new Uint8Array(1), 2))).toBeInstanceOf(RangeError);
      expect(() => stream.reset(-1)).toThrow(RangeError);
      expect(() => stream.stopReading(1.5)).toThrow(RangeError);
      const first = failureOf(stream.read(new Uint8Array(1)));
      expect(await failureOf(stream.read(new Uint8Array(1)))).toMatchObject({
        message: expect.stringContaining("another read is waiting"),
      });
      await stream.end();
      expect(await failureOf(stream.write(Buffer.from("late")))).toMatchObject({
        code: "ERR_CLOSED",
      });
      stream.stopReading(0);
      expect(await first).toMatchObject({ code: "ERR_CLOSED" });
    });
  });

  it("survives a buffer that is taken away while it waits", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.write(Buffer.from("go"));
      const serving = await incoming.shift();
      const reading = new Uint8Array(10);
      const read = failureOf(stream.read(reading));
      const writing = new Uint8Array(20_000_000);
      const write = failureOf(stream.write(writing));
      structuredClone(0, { transfer: [reading.buffer, writing.buffer] });
      await serving.end(Buffer.from("answer"));
      expect(await read).toBeInstanceOf(TypeError);
      await serving.read(new Uint8Array(60_000));
      expect(await write).toBeInstanceOf(TypeError);
    });
  });

  it("refuses streams beyond the limit, and drops a peer that insists", async () => {
    const server = { limits: { streamCountMax: 4 } };
    await withPair({ server }, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const streams = Array.from({ length: 6 }, () => dialled.openStream());
      await Promise.all(streams.map((stream) => stream.end(Buffer.from("go"))));
      for (const stream of streams.slice(4)) {
        expect(await failureOf(readAll(stream))).toMatchObject({ code: "ERR_STREAM_RESET" });
      }
      const first = await incoming.shift();
      await readAll(first);
      await first.end(Buffer.from("done"));
      expect((await readAll(streams[0]!)).toString()).toBe("done");
      await expect.poll(() => accepted.stats().streamCount).toBe(3);
      const insisting = Array.from({ length: 10 }, () => dialled.openStream());
      await Promise.allSettled(insisting.map((stream) => stream.end(Buffer.from("go"))));
      expect(await dialled.closed).toMatchObject({ by: "peer", isApplication: false, code: 4 });
    });
  });

  it("cannot be opened where the peer takes none", async () => {
    await withPair({ server: { limits: { streamCountMax: 0 } } }, async ({ dialled }) => {
      expect(await failureOf(dialled.openStream().end())).toMatchObject({
        code: "ERR_STREAM_LIMIT",
      });
    });
  });

  it("is reset when the handler of new streams throws", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      accepted.onStream = () => {
        throw new Error("bug");
      };
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      expect(await failureOf(readAll(stream))).toMatchObject({ code: "ERR_STREAM_RESET" });
    });
  });
});

async function readExactly(stream: QuicStream, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length;) filled += await stream.read(bytes.subarray(filled));
  return bytes;
}
