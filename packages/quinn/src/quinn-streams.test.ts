import { createHash } from "node:crypto";
import type { QuicConnection, QuicStream } from "@damselfly/quic";
import { createQueue, failureOf, pattern, readAll, serveEcho } from "@damselfly/quic/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeMessage } from "./control-message.ts";
import { openQuinnEndpoint } from "./quinn-endpoint.ts";
import { LOOPBACK, UNAVAILABLE, withPair } from "./testing/quinn-pair.ts";
import { openRawDialler } from "./testing/raw-dialler.ts";

/** As code without types gives it. */
type Untyped = any;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe.skipIf(UNAVAILABLE)("QuinnStream", () => {
  it("echoes what was written", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("hello"));
      expect((await readAll(stream)).toString()).toBe("hello");
      expect(await stream.closed).toBeUndefined();
      expect(stream.receivedLength).toBe(5);
      expect(dialled.stats().streamCount).toBe(0);
    });
  });

  it("carries an empty message both ways", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.write(Buffer.alloc(0));
      await stream.end();
      expect(await readAll(stream)).toHaveLength(0);
      expect(await stream.read(Buffer.alloc(1))).toBe(0);
    });
  });

  it.each<[string, () => Untyped]>([
    ["text", () => "hello"],
    ["an array", () => [1, 2]],
    ["another view", () => new Uint16Array(2)],
    ["a detached buffer", () => detached()],
  ])("takes %s neither to write nor to read into, and goes on", async (_, make) => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      const wrong = make();
      for (const call of [stream.write(wrong), stream.end(wrong), stream.read(wrong)]) {
        expect(await failureOf(call)).toBeInstanceOf(TypeError);
      }
      await stream.end(Buffer.from("still there"));
      expect((await readAll(stream)).toString()).toBe("still there");
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

  it("moves 32 MB exactly", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const content = pattern(32_000_000);
      accepted.onStream = (stream) => {
        void readAll(stream);
        stream.end(content).catch(() => stream.reset(1));
      };
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      expect(sha256(await readAll(stream))).toBe(sha256(content));
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
        for (; taken < 40_000_000; taken += 50_000) await serving.write(pattern(50_000, taken));
        await serving.end();
      })();
      await expect.poll(() => taken).toBeGreaterThan(0);
      serveEcho(accepted);
      for (let round = 0; round < 10; round++) {
        const other = dialled.openStream();
        await other.end(pattern(1000));
        await readAll(other); // time enough for the first one to run away
      }
      expect(taken).toBeLessThan(12_000_000); // what the native layer keeps to send again, and the window
      expect(sha256(await readAll(stream))).toBe(sha256(pattern(40_000_000)));
      await writing;
    });
  });

  it("holds all writers of a connection back together while nobody reads", async () => {
    const connectionWindow = 300_000;
    await withPair({ client: { connectionWindow } }, async (pair) => {
      const { client, server, dialled, accepted } = pair;
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const streams = Array.from({ length: 100 }, () => dialled.openStream());
      await Promise.all(streams.map((stream) => stream.end(Buffer.from("go"))));
      const writing = streams.map(async () => (await incoming.shift()).end(pattern(100_000)));
      const receivedLength = (): number => dialled.stats().receivedBytes;
      await expect.poll(receivedLength).toBeGreaterThan(connectionWindow);
      for (let round = 0; round < 10; round++) {
        const other = await client.dial(server.address, { peerKey: server.peerKey });
        other.close(0); // time enough for what is written to run away
      }
      expect(receivedLength()).toBeLessThan(connectionWindow + 100_000); // and what packets add
      const contents = await Promise.all(streams.map((stream) => readAll(stream)));
      for (const content of contents) expect(content).toHaveLength(100_000);
      await Promise.all(writing);
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

  it("tells the reader of the peer's reset and its code, and drops what was unread", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      accepted.onStream = (stream) => stream.reset(77);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const failure = { code: "ERR_STREAM_RESET", applicationCode: 77 };
      expect(await failureOf(stream.read(new Uint8Array(10)))).toMatchObject(failure);
      expect(await stream.closed).toMatchObject(failure);
      expect(await failureOf(stream.read(new Uint8Array(10)))).toMatchObject(failure);
    });
  });

  it("tells a blocked writer that the peer stopped reading", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const serving = await incoming.shift();
      const writing = failureOf(serving.write(Buffer.alloc(60_000_000)));
      await stream.read(new Uint8Array(1000));
      stream.stopReading(42);
      expect(await writing).toMatchObject({ code: "ERR_STREAM_STOPPED", applicationCode: 42 });
      expect(await serving.closed).toMatchObject({ code: "ERR_STREAM_STOPPED" });
      expect(await failureOf(stream.read(new Uint8Array(10)))).toMatchObject({
        code: "ERR_CLOSED",
      });
    });
  });

  it("tells an idle writer that the peer stopped reading, also under a read that waits", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const streams = Array.from({ length: 100 }, () => dialled.openStream());
      await Promise.all(streams.map((stream) => stream.end(Buffer.from("go"))));
      const serving = await Promise.all(streams.map(() => incoming.shift()));
      await Promise.all(serving.map((each) => readAll(each)));
      const readings = streams.map((stream) => failureOf(stream.read(new Uint8Array(1))));
      for (const stream of streams) stream.stopReading(1);
      for (const reading of readings) expect(await reading).toMatchObject({ code: "ERR_CLOSED" });
      for (const each of serving)
        expect(await each.closed).toMatchObject({ code: "ERR_STREAM_STOPPED", applicationCode: 1 });
      await expect.poll(() => accepted.stats().streamCount).toBe(0);
    });
  });

  it("rejects a write at once when the stream is reset under it", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const stream = dialled.openStream();
      const writing = failureOf(stream.write(Buffer.alloc(60_000_000)));
      const serving = await incoming.shift();
      stream.reset(5);
      expect(await writing).toMatchObject({ code: "ERR_CLOSED" });
      expect(await failureOf(readAll(serving))).toMatchObject({
        code: "ERR_STREAM_RESET",
        applicationCode: 5,
      });
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
        const opening = dialled.openStream();
        const writing = failureOf(opening.write(Buffer.from("never")));
        opening.reset(1);
        opening.stopReading(1);
        await writing;
      }
      const honest = dialled.openStream();
      await honest.end(Buffer.from("go"));
      expect(Buffer.compare(await readAll(honest), content)).toBe(0);
      expect(dialled.stats().streamCount).toBe(0);
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
      const writing = stream.write(Buffer.from("a"));
      expect(await failureOf(stream.write(Buffer.from("b")))).toMatchObject({
        message: expect.stringContaining("another write is waiting"),
      });
      await writing;
      await stream.end();
      expect(await failureOf(stream.write(Buffer.from("late")))).toMatchObject({
        code: "ERR_CLOSED",
      });
      stream.stopReading(0);
      expect(await first).toMatchObject({ code: "ERR_CLOSED" });
    });
  });

  it("survives a buffer that is taken away while it waits to be filled", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      const reading = new Uint8Array(10);
      const read = failureOf(stream.read(reading));
      structuredClone(0, { transfer: [reading.buffer] });
      await stream.write(Buffer.from("answer"));
      expect(await read).toBeInstanceOf(TypeError);
    });
  });

  it.each([4, 5, 300])("is refused beyond what the peer grants, four of %i", async (count) => {
    await withPair({ server: { limits: { streamCountMax: 4 } } }, async ({ dialled, accepted }) => {
      const incoming = createQueue<QuicStream>();
      accepted.onStream = incoming.push;
      const streams = Array.from({ length: count }, () => dialled.openStream());
      const endings = await Promise.allSettled(
        streams.map((each, index) => each.end(Buffer.from(String(index)))),
      );
      expect(endings.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
      for (const ending of endings.filter(({ status }) => status === "rejected"))
        expect(ending).toMatchObject({ reason: { code: "ERR_STREAM_LIMIT" } });
      // Quinn's threads open what is asked for at once in an order of their own.
      const first = await incoming.shift();
      const index = Number(await readAll(first));
      await first.end(Buffer.from("done"));
      expect((await readAll(streams[index]!)).toString()).toBe("done");
      const next = dialled.openStream();
      await next.end(Buffer.from("go"));
    });
  });

  it("is not granted beyond the limit to whoever insists", async () => {
    const accepting = createQueue<QuicConnection>();
    const server = await openQuinnEndpoint({
      address: LOOPBACK,
      alpn: "test",
      limits: { streamCountMax: 4 },
      isKnownPeer: () => true,
      accept: accepting.push,
    });
    const dialler = openRawDialler();
    try {
      const native = await dialler.dial(server.address);
      const hello = { alpn: "test", streamCountMax: 4, idleTimeoutMs: 60_000 };
      await (await native.outboundStream()).write(encodeMessage({ kind: "hello", ...hello }));
      const accepted = await accepting.shift();
      let grantedCount = 0;
      const opening = Array.from({ length: 300 }, async () => {
        const stream = await native.outboundStream();
        grantedCount += 1;
        await stream.write(Buffer.from("go"));
      });
      await expect.poll(() => accepted.stats().streamCount).toBe(4);
      expect([grantedCount, accepted.stats().openedStreamCount]).toEqual([4, 4]);
      native.abort();
      await Promise.allSettled(opening);
      expect(grantedCount).toBe(4);
    } finally {
      dialler[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    }
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
      const asking = stream.end(Buffer.from("go")).then(() => readAll(stream));
      expect(await failureOf(asking)).toMatchObject({
        code: expect.stringMatching(/^ERR_STREAM_(RESET|STOPPED)$/),
      });
    });
  });
});

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}
