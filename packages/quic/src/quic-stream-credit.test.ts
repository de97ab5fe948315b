import { createTestAuthority } from "@damselfly/rpc/testing";
import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicStream } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { encodeVarint } from "./testing/handmade-packet.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { NativeClient } from "./testing/native-client.ts";
import { createQueue, withPair } from "./testing/open-pair.ts";
import { readAll } from "./testing/stream-bytes.ts";

const SERVER = { ip: "198.51.100.1", port: 4006 };
const STRANGER = { ip: "198.51.100.2", port: 5000 };
const LIMITS = { streamCountMax: 4, abandonedStreamCountMax: 100 };
const STREAM_LIMIT_ERROR = 4;

const authority = await createTestAuthority();

/** A client with a certificate that speaks for itself, and what the server has of it. */
async function withStranger(
  test: (client: NativeClient, accepted: QuicConnection) => Promise<void>,
): Promise<void> {
  const network = new MemoryNetwork();
  const accepting = createQueue<QuicConnection>();
  const server = await openQuicEndpoint({
    address: SERVER,
    alpn: "test",
    tls: await authority.issue({ dnsNames: ["d7y"] }),
    udp: network.open,
    limits: LIMITS,
    accept: accepting.push,
  });
  const client = await NativeClient.open(network, {
    address: STRANGER,
    target: SERVER,
    alpn: "test",
    tls: await authority.issue(),
  });
  try {
    client.flush();
    await test(client, await accepting.shift());
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}

/** A STREAM frame without an end (RFC 9000, section 19.8). */
function streamFrame(id: number, offset: number, content: Uint8Array): Buffer {
  const [at, length] = [encodeVarint(offset), encodeVarint(content.byteLength)];
  return Buffer.concat([Buffer.of(0x0e), encodeVarint(id), at, length, content]);
}

describe("QuicLimits", () => {
  it.each([
    ["on which nothing comes", (id: number) => streamFrame(id, 0, Buffer.alloc(0))],
    ["whose first byte does not come", (id: number) => streamFrame(id, 1, Buffer.alloc(100))],
  ])("bound streams %s, which nobody sees", async (_, frame) => {
    await withStranger(async (client, accepted) => {
      const seen: QuicStream[] = [];
      accepted.onStream = (stream) => seen.push(stream);
      const count = LIMITS.streamCountMax + LIMITS.abandonedStreamCountMax;
      for (let index = 0; index < count; index++) await client.sendFrames(frame(4 * index));
      await expect.poll(() => accepted.stats().receivedPacketCount).toBeGreaterThan(count);
      expect(accepted.isOpen).toBe(true);
      await client.sendFrames(frame(4 * count));
      expect(await accepted.closed).toMatchObject({ by: "here", code: STREAM_LIMIT_ERROR });
      expect(seen).toEqual([]);
    });
  });

  it("allow for no unidirectional streams", async () => {
    await withStranger(async (client, accepted) => {
      await client.sendFrames(streamFrame(2, 0, Buffer.alloc(1)));
      expect(await accepted.closed).toMatchObject({ by: "here", code: STREAM_LIMIT_ERROR });
    });
  });

  it("bound what is unread on all streams of a connection", async () => {
    await withStranger(async (client) => {
      expect(client.native.stats()).toMatchObject({
        peerInitialMaxData: 128 * 1024 * 1024,
        peerInitialMaxStreamsBidi: 104,
        peerInitialMaxStreamsUni: 0,
      });
    });
  });

  it("let a peer go on for ever that finishes what it begins, and abandons as much as it may", async () => {
    const both = { udp: new MemoryNetwork().open, packetLength: 1350 };
    const limits = { streamCountMax: 64, abandonedStreamCountMax: 100 };
    await withPair({ both, server: { limits } }, async ({ dialled, accepted }) => {
      accepted.onStream = (stream) => void answer(stream);
      const ask = async (): Promise<void> => {
        const stream = dialled.openStream();
        await stream.end(Buffer.alloc(90));
        expect(await readAll(stream)).toHaveLength(5_000);
      };
      const settled = async (openedStreamCount: number): Promise<void> => {
        await expect
          .poll(() => accepted.stats(), { timeout: 20_000 })
          .toMatchObject({ openedStreamCount, streamCount: 0 });
      };
      for (let count = 0; count < 300; count++) await ask();
      for (let count = 0; count < limits.abandonedStreamCountMax; count++) {
        const stream = dialled.openStream();
        await stream.write(Buffer.alloc(90));
        if (count % 2 === 0) await stream.end(Buffer.alloc(10));
        stream.stopReading(1);
        stream.reset(1);
        if (count % 20 === 19) await settled(300 + count + 1);
      }
      for (let count = 0; count < 300; count++) await ask();
      await settled(700);
    });
  });
});

async function answer(stream: QuicStream): Promise<void> {
  try {
    await readAll(stream);
    await stream.end(Buffer.alloc(5_000));
  } catch {
    stream.stopReading(0);
    stream.reset(0);
  }
}
