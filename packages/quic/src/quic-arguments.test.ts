import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicEndpoint, QuicEndpointOptions, QuicStream } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { LOOPBACK, withPair } from "./testing/open-pair.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

// Whatever comes from code that the compiler has not seen: the native layer must never meet it. It aborts the whole
// process on some of it, and with that this test.

/** As code without types gives it. */
type Untyped = any;

const BAD_NUMBERS: readonly Untyped[] = [-1, 1.5, Number.NaN, Infinity, 2 ** 53, "1", 1n, null, {}];
const BAD_BYTES: readonly [string, () => Untyped][] = [
  ["null", () => null],
  ["undefined", () => null],
  ["text", () => "abc"],
  ["an array", () => [1, 2, 3]],
  ["an ArrayBuffer", () => new ArrayBuffer(8)],
  ["a DataView", () => new DataView(new ArrayBuffer(8))],
  ["another typed array", () => new Uint16Array(8)],
  ["a clamped array", () => new Uint8ClampedArray(8)],
  ["something like bytes", () => ({ byteLength: 8, length: 8, subarray: () => undefined })],
  ["a detached buffer", detached],
];

describe("QuicStream", () => {
  it.each(BAD_BYTES)("takes no %s for bytes", async (_, make) => {
    await withStream(async ({ stream }) => {
      const bytes = make();
      for (const call of [stream.write(bytes), stream.end(bytes), stream.read(bytes)]) {
        expect(await failureOf(call)).toBeInstanceOf(TypeError);
      }
      await assertAlive(stream);
    });
  });

  it.each([
    ["shared memory", () => new Uint8Array(new SharedArrayBuffer(8))],
    [
      "resizable memory",
      () => new Uint8Array(Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }])),
    ],
    ["a part of a pool", () => Buffer.from("12345678")],
  ])("reads and writes %s", async (_, make) => {
    await withStream(async ({ stream }) => {
      await stream.end(make().fill(7));
      const into = make();
      expect(await stream.read(into, 8)).toBe(8);
      expect([...into]).toEqual(Array(8).fill(7));
    });
  });

  it.each(BAD_NUMBERS.map((number) => [number]))("takes no %s for a number", async (number) => {
    await withStream(async ({ stream, connection, client, server }) => {
      const bad = number;
      expect(() => stream.reset(bad)).toThrow(RangeError);
      expect(() => stream.stopReading(bad)).toThrow(RangeError);
      expect(() => connection.close(bad)).toThrow(RangeError);
      if (number !== "1" && number !== 1.5 && number !== 1n) {
        expect(await failureOf(stream.read(new Uint8Array(1), bad))).toBeInstanceOf(RangeError);
      }
      const { address } = server;
      for (const dial of [
        client.dial({ ip: address.ip, port: bad }),
        client.dial(address, { timeoutMs: bad }),
      ]) {
        expect(await failureOf(dial)).toBeInstanceOf(RangeError);
      }
      await assertAlive(stream);
    });
  });
});

describe("QuicConnection", () => {
  it.each<Untyped>([5, null, {}, Buffer.from("a")])("takes no %s for a reason", async (reason) => {
    await withStream(async ({ stream, connection }) => {
      expect(() => connection.close(0, reason)).toThrow(TypeError);
      await assertAlive(stream);
    });
  });

  it("carries any text as a reason, as far as it fits and can be shown", async () => {
    await withPair({}, async ({ dialled, accepted }) => {
      dialled.close(Number.MAX_SAFE_INTEGER, `a\0b\ud800${"x".repeat(100_000)}`);
      const { code, text } = await accepted.closed;
      expect(code).toBe(Number.MAX_SAFE_INTEGER);
      expect(text.startsWith("a?b\ufffdx")).toBe(true);
      expect(text.length).toBeLessThanOrEqual(256);
    });
  });
});

describe("QuicEndpoint", () => {
  it.each(["", "a\0b", "a b", "ü", "\ud800", "a".repeat(256), "a\nb"])(
    "takes no %j for a server name",
    async (serverName) => {
      await withStream(async ({ stream, client, server }) => {
        const dialling = client.dial(server.address, { serverName });
        expect(await failureOf(dialling)).toBeInstanceOf(RangeError);
        await assertAlive(stream);
      });
      expect(await failureOf(open({ serverName }))).toBeInstanceOf(RangeError);
    },
  );

  it.each(["localhost", "", "1.2.3.4.5", "fe80::1%eth0\0", "127.0.0.1\0"])(
    "takes no %j for an address",
    async (ip) => {
      await withStream(async ({ stream, client }) => {
        expect(await failureOf(client.dial({ ip, port: 1 }))).toBeDefined();
        await assertAlive(stream);
      });
    },
  );

  it.each(["/nowhere/keys.log", "/tmp/a\0b", "/"])(
    "connects although its secrets cannot be written to %j",
    async (keyLogPath) => {
      await withPair({ both: { keyLogPath } }, async ({ dialled, accepted }) => {
        serveEcho(accepted);
        await assertAlive(dialled.openStream());
      });
    },
  );

  it("rejects options that are no numbers", async () => {
    for (const bad of BAD_NUMBERS) {
      for (const options of [
        { idleTimeoutMs: bad },
        { deadAfterMs: bad },
        { bufferLength: bad },
        { packetLength: bad },
        { limits: { connectionCountMax: bad } },
        { limits: { streamCountMax: bad } },
        { limits: { abandonedStreamCountMax: bad } },
        { limits: { streamWindow: bad } },
        { limits: { peerStreamWindow: bad } },
        { address: { ip: LOOPBACK.ip, port: bad } },
      ]) {
        // Null stands for a default in some places.
        if (bad === null) continue;
        expect(await failureOf(open(options))).toBeInstanceOf(RangeError);
      }
    }
  });
});

function open(options: Partial<QuicEndpointOptions>): Promise<QuicEndpoint> {
  return openQuicEndpoint({ address: LOOPBACK, alpn: "test", tls: "insecure", ...options });
}

async function withStream(
  test: (all: {
    stream: QuicStream;
    connection: QuicConnection;
    client: QuicEndpoint;
    server: QuicEndpoint;
  }) => Promise<void>,
): Promise<void> {
  await withPair({ both: { udp: new MemoryNetwork().open } }, async (pair) => {
    serveEcho(pair.accepted);
    await test({ ...pair, connection: pair.dialled, stream: pair.dialled.openStream() });
  });
}

async function assertAlive(stream: QuicStream): Promise<void> {
  await stream.end(Buffer.from("still here"));
  expect((await readAll(stream)).toString()).toBe("still here");
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(0, { transfer: [bytes.buffer] });
  return bytes;
}
