import { describe, expect, it } from "vitest";
import type { QuicStream } from "./quic.ts";
import { MemoryNetwork, type MemoryNetworkOptions } from "./testing/memory-network.ts";
import { createQueue, type Pair, withPair } from "./testing/open-pair.ts";
import { handshakePacket } from "./testing/short-packet.ts";
import { failureOf, pattern, readAll } from "./testing/stream-bytes.ts";

/** A pair over a network of its own; `incoming` has the streams that the accepting side is sent. */
async function withNetwork(
  test: (
    pair: Pair & { network: MemoryNetwork; incoming: () => Promise<QuicStream> },
  ) => Promise<void>,
  options?: MemoryNetworkOptions,
): Promise<void> {
  const network = new MemoryNetwork(options);
  await withPair({ both: { udp: network.open, packetLength: 1350 } }, async (pair) => {
    const queue = createQueue<QuicStream>();
    pair.accepted.onStream = queue.push;
    await test({ ...pair, network, incoming: queue.shift });
  });
}

describe("QuicStream", () => {
  it("fails reads of a stream that was never written to, once the connection is over", async () => {
    await withNetwork(async ({ dialled, accepted }) => {
      const [waiting, late] = [dialled.openStream(), dialled.openStream()];
      const reading = failureOf(waiting.read(new Uint8Array(1)));
      accepted.close(7);
      const lost = { code: "ERR_CONNECTION_LOST", applicationCode: 7 };
      expect(await reading).toMatchObject(lost);
      await dialled.closed;
      expect(await failureOf(late.read(new Uint8Array(1)))).toMatchObject(lost);
      expect(await late.closed).toMatchObject(lost);
    });
  });

  it("hands over what a read has gathered when the connection ends", async () => {
    await withNetwork(async ({ dialled, accepted, incoming }) => {
      const stream = dialled.openStream();
      await stream.write(pattern(100));
      const taken = await incoming();
      const into = Buffer.alloc(1000);
      const reading = taken.read(into, 1000);
      dialled.close(0);
      expect(await reading).toBe(100);
      expect(into.subarray(0, 100)).toEqual(pattern(100));
      await accepted.closed;
      expect(await failureOf(taken.read(into, 1000))).toMatchObject({
        code: "ERR_CONNECTION_LOST",
      });
    });
  });

  it("tells the peer of a stop that came before the first byte", async () => {
    await withNetwork(async ({ dialled, incoming }) => {
      const stream = dialled.openStream();
      stream.stopReading(5);
      await stream.end(Buffer.from("no answer, please"));
      const taken = await incoming();
      expect((await readAll(taken)).toString()).toBe("no answer, please");
      expect(await taken.closed).toMatchObject({ code: "ERR_STREAM_STOPPED" });
    });
  });

  it("tells the peer of a stop that shares a datagram with a packet of the handshake, which is over there", async () => {
    await withNetwork(async ({ dialled, incoming, network }) => {
      // As the dialler sends it while it does not know that yet.
      network.onDatagram = (datagram) => {
        const isShort = ((datagram.bytes[0] ?? 0) & 0x80) === 0;
        if (!isShort || datagram.to.port !== dialled.remoteAddress.port) return true;
        const bytes = Buffer.concat([
          handshakePacket(datagram.bytes.subarray(1, 17), 60),
          datagram.bytes,
        ]);
        network.inject({ ...datagram, bytes });
        return false;
      };
      const stream = dialled.openStream();
      stream.stopReading(5);
      await stream.end(Buffer.from("no answer, please"));
      const taken = await incoming();
      expect(await taken.closed).toMatchObject({ code: "ERR_STREAM_STOPPED" });
    });
  });

  it("ends both ways when it is reset before the first byte", async () => {
    await withNetwork(async ({ dialled, accepted, incoming }) => {
      const stream = dialled.openStream();
      const reading = failureOf(stream.read(new Uint8Array(1)));
      stream.reset(5);
      expect(await reading).toMatchObject({ code: "ERR_CLOSED" });
      expect(dialled.stats().streamCount).toBe(0);
      const next = dialled.openStream();
      await next.end();
      expect((await incoming()).id).toBe(next.id); // the peer never heard of the first one
      expect(accepted.stats().openedStreamCount).toBe(1);
    });
  });

  it("tells the peer of a stop although its packet was lost", async () => {
    await withNetwork(async ({ dialled, incoming, network }) => {
      const stream = dialled.openStream();
      await stream.end(Buffer.from("go"));
      const taken = await incoming();
      const writing = failureOf(taken.write(Buffer.alloc(20_000_000)));
      await stream.read(Buffer.alloc(1000));
      stream.stopReading(5);
      lose(network, dialled.remoteAddress.port, 1);
      expect(await writing).toMatchObject({ code: "ERR_STREAM_STOPPED" });
    });
  });

  it("never ends where it was reset, whatever order the packets come in", async () => {
    for (let start = 1; start <= 10; start++) {
      await withNetwork(
        async ({ dialled, incoming }) => {
          const streams = Array.from({ length: 8 }, () => dialled.openStream());
          await Promise.all(streams.map((stream) => stream.end(Buffer.from("go"))));
          const taken = await Promise.all(streams.map(() => incoming()));
          // More than the congestion window lets out: some of it is unsent when the resets come. No more than a busy machine sends
          // in the time that a reset waits for it.
          const writing = taken.map((stream) => failureOf(stream.write(Buffer.alloc(100_000))));
          await Promise.all(streams.map((stream) => stream.read(Buffer.alloc(1000))));
          for (const stream of taken) stream.reset(9);
          for (const stream of streams) {
            const failure = await failureOf(readAll(stream));
            expect(failure).toMatchObject({ code: "ERR_STREAM_RESET", applicationCode: 9 });
          }
          await Promise.all(writing);
        },
        { start, delay: 0.5 },
      );
    }
  });

  it("ends although the packet of a late end was lost", async () => {
    await withNetwork(async ({ dialled, incoming, network }) => {
      const stream = dialled.openStream();
      await stream.write(Buffer.from("question"));
      const taken = await incoming();
      await taken.read(Buffer.alloc(100));
      await taken.end(Buffer.from("answer"));
      expect((await readAll(stream)).toString()).toBe("answer");
      await stream.end();
      lose(network, dialled.remoteAddress.port, 1);
      expect(await readAll(taken)).toHaveLength(0);
    });
  });
});

/** Loses the next `count` datagrams to `port`. */
function lose(network: MemoryNetwork, port: number, count: number): void {
  let seen = 0;
  network.onDatagram = ({ to }) => {
    if (to.port !== port) return true;
    seen++;
    return seen > count;
  };
}
