import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHealthClient } from "./clients.ts";
import { implementService } from "./implement-service.ts";
import { serveRpc, type RpcServer } from "./serve-rpc.ts";
import {
  dataFrames,
  encodeHeader,
  encodeHeaders,
  frame,
  FrameType,
  headerFrames,
  RawHttp2,
} from "./testing.ts";

/*
 * Floods that HTTP/2 makes possible. Node's nghttp2 ends them by itself: these tests are there to notice a version that does not. Each
 * flood is much longer than what nghttp2 lets pass, and must have ended its connection, with nothing left behind, and nobody else harmed.
 */

const CHECK = "/grpc.health.v1.Health/Check";
const ANNOUNCE_PEER = "/scheduler.v2.Scheduler/AnnouncePeer";

let server: RpcServer;
let address: { readonly ip: string; readonly port: number };

beforeEach(async () => {
  server = await serveRpc({
    address: { ip: "127.0.0.1", port: 0 },
    graceMs: 0,
    services: [
      implementService("scheduler.v2.Scheduler", {
        async announcePeer({ requests }) {
          for await (const _ of requests);
        },
      }),
    ],
    // Otherwise what is looked for here would not be seen.
    limits: { callsPerSecondMax: 1_000_000 },
  });
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  ({ address } = server);
});
afterEach(() => server[Symbol.asyncDispose]());

async function ask(): Promise<unknown> {
  await using client = createHealthClient(address);
  return (await client.check({}, { timeoutMs: 10_000 })).status;
}

/** Sends until the server says farewell or takes no more. */
async function flood(raw: RawHttp2, next: (round: number) => Buffer): Promise<number> {
  let sentLength = 0;
  for (let round = 0; round < 200; round += 1) {
    if (raw.goAwayCode !== undefined || raw.isClosed) break;
    const bytes = next(round);
    if (!(await raw.write(bytes, 2_000))) break;
    sentLength += bytes.byteLength;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return sentLength;
}

const times = (count: number, bytes: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes));

describe("a flood of", () => {
  it.each<[string, (round: number) => Buffer]>([
    [
      "calls that are reset at once",
      (round) =>
        Buffer.concat(
          Array.from({ length: 500 }, (_, index) => {
            const streamId = 2 * (round * 500 + index) + 1;
            const payload = Buffer.from([0, 0, 0, 8]);
            return Buffer.concat([
              headerFrames(streamId, encodeHeaders(CHECK)),
              frame(FrameType.Reset, { streamId, payload }),
            ]);
          }),
        ),
    ],
    ["pings", () => times(2_000, frame(FrameType.Ping, { payload: Buffer.alloc(8) }))],
    ["settings", () => times(2_000, frame(FrameType.Settings))],
    [
      "header continuations without an end",
      (round) =>
        round === 0
          ? frame(FrameType.Headers, { streamId: 1, payload: encodeHeaders(CHECK) })
          : times(
              100,
              frame(FrameType.Continuation, { streamId: 1, payload: encodeHeader("x", "y") }),
            ),
    ],
    [
      "empty header continuations",
      (round) =>
        round === 0
          ? frame(FrameType.Headers, { streamId: 1, payload: encodeHeaders(CHECK) })
          : times(100, frame(FrameType.Continuation, { streamId: 1 })),
    ],
    [
      "empty messages' parts",
      (round) =>
        round === 0
          ? headerFrames(1, encodeHeaders(ANNOUNCE_PEER))
          : times(1_000, dataFrames(1, Buffer.alloc(0))),
    ],
  ])("%s ends its connection, and nothing else", async (_, next) => {
    const raw = await RawHttp2.greet(address);
    await expect.poll(() => raw.count(FrameType.Settings)).toBeGreaterThan(0);
    const before = process.memoryUsage().rss;
    await flood(raw, next);
    await expect
      .poll(() => raw.goAwayCode !== undefined || raw.isClosed, { timeout: 10_000 })
      .toBe(true);
    expect(await ask()).toBe("SERVING");
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    raw.close();
  });

  it("settings that change the window to and fro does not disturb others", async () => {
    const raw = await RawHttp2.greet(address);
    const change = (value: number): Buffer => {
      const payload = Buffer.from([0, 4, 0, 0, value >> 8, value & 255]);
      return frame(FrameType.Settings, { payload });
    };
    await flood(raw, () => times(500, Buffer.concat([change(0), change(65_535)])));
    expect(await ask()).toBe("SERVING");
    raw.close();
  });
});

describe("a connection that breaks the protocol", () => {
  it("in the same breath as it calls ends, and nothing else does", async () => {
    const raw = await RawHttp2.greet(address);
    // A stream that depends on itself (RFC 7540, section 5.3.1): the connection is over before its first call has been seen.
    const priority = Buffer.from([0, 0, 0, 3, 0]);
    await raw.write(
      Buffer.concat([
        headerFrames(1, encodeHeaders(CHECK)),
        frame(FrameType.Headers, { streamId: 3, flags: 0x20, payload: priority }),
      ]),
    );
    await expect.poll(() => raw.isClosed || raw.goAwayCode !== undefined).toBe(true);
    expect(await ask()).toBe("SERVING");
    raw.close();
  });
});
