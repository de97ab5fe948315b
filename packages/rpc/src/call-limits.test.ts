import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { createDfdaemonUploadClient, createHealthClient } from "./clients.ts";
import { implementService } from "./implement-service.ts";
import type { RpcLimits } from "./rpc-limits.ts";
import { serveRpc } from "./serve-rpc.ts";
import { dataFrames, encodeMessage, frame, FrameType, RawHttp2 } from "./testing.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

interface Address {
  readonly ip: string;
  readonly port: number;
}

const STAT_TASK = "/dfdaemon.v2.DfdaemonUpload/StatTask";
const SYNC_HOST = "/dfdaemon.v2.DfdaemonUpload/SyncHost";
const ANNOUNCE_PEER = "/scheduler.v2.Scheduler/AnnouncePeer";
/** RFC 9113, section 7: the stream is no longer needed. */
const CANCEL = 8;
const KIB = 1024;

interface Bench {
  readonly address: Address;
  /** Calls that have reached a handler. */
  readonly answered: string[];
  /** Messages of AnnouncePeer calls. */
  readonly announced: string[];
  /** SyncHost calls that go on. */
  readonly running: Set<AbortSignal>;
}

/** StatTask answers with an id of the length that the request's id says, SyncHost goes on for ever. */
async function serve(limits: Partial<RpcLimits>): Promise<Bench> {
  const [answered, announced]: [string[], string[]] = [[], []];
  const running = new Set<AbortSignal>();
  const server = await serveRpc({
    address: { ip: "127.0.0.1", port: 0 },
    graceMs: 0,
    limits,
    services: [
      implementService("dfdaemon.v2.DfdaemonUpload", {
        async statTask({ taskId }) {
          answered.push(taskId);
          return { id: "x".repeat(Number(taskId)) };
        },
        async *syncHost(_, { signal }) {
          answered.push("syncHost");
          running.add(signal);
          try {
            while (!signal.aborted) yield { hostname: "x".repeat(10 * KIB) };
          } finally {
            running.delete(signal);
          }
        },
      }),
      implementService("scheduler.v2.Scheduler", {
        async announcePeer({ requests }) {
          for await (const { peerId } of requests) announced.push(peerId);
        },
      }),
    ],
  });
  disposables.push(server);
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  return { address: server.address, answered, announced, running };
}

async function greet(address: Address, settings?: Buffer): Promise<RawHttp2> {
  const raw = await RawHttp2.greet(address, settings);
  disposables.push({ [Symbol.asyncDispose]: async () => raw.close() });
  return raw;
}

/** A StatTask request for a task of this id. */
function statTask(taskId: string): Buffer {
  // Field 1, length-delimited: task_id.
  return encodeMessage(Buffer.concat([Buffer.from([0x0a, taskId.length]), Buffer.from(taskId)]));
}

/** Whether somebody else is served. */
async function ask(address: Address): Promise<unknown> {
  await using client = createDfdaemonUploadClient(address);
  return (await client.statTask({ taskId: "3" }, { timeoutMs: 10_000 })).id;
}

/** `grpc-status` as it stands in a header block, where the encoder compresses nothing of it. */
function statusesOf(raw: RawHttp2, streamId: number): boolean {
  return raw.frames.some(({ type, streamId: id }) => type === FrameType.Headers && id === streamId);
}

function resetCode(raw: RawHttp2, streamId: number): number | undefined {
  return raw.frames
    .find(({ type, streamId: id }) => type === FrameType.Reset && id === streamId)
    ?.payload.readUInt32BE(0);
}

describe("calls at once", () => {
  it("are let in up to the limit, refused beyond it, and let in when others are over", async () => {
    const { address, answered } = await serve({ callCountMax: 3 });
    await using client = createDfdaemonUploadClient(address);
    const leave = new AbortController();
    const streams = Array.from({ length: 3 }, () =>
      client.syncHost({}, { signal: leave.signal })[Symbol.asyncIterator](),
    );
    for (const stream of streams) expect((await stream.next()).done).toBe(false);
    for (let count = 0; count < 30; count += 1) {
      await expect(ask(address)).rejects.toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "too many calls at once",
      });
    }
    expect(answered).toEqual(["syncHost", "syncHost", "syncHost"]);
    leave.abort();
    await expect.poll(() => ask(address).catch(() => "refused")).toBe("xxx");
  });

  it("from one address are held to its share", async () => {
    const { address } = await serve({ callsPerAddressMax: 1 });
    await using client = createHealthClient(address);
    const watching = client.watch({})[Symbol.asyncIterator]();
    await watching.next();
    for (let count = 0; count < 30; count += 1) {
      await expect(ask(address)).rejects.toMatchObject({
        reason: "too many calls at once from one address",
      });
    }
    await watching.return?.();
    await expect.poll(() => ask(address).catch(() => "refused")).toBe("xxx");
  });

  it("begin no faster than a connection may, which is closed otherwise, alone", async () => {
    const { address } = await serve({ callsPerSecondMax: 10 });
    const raw = await greet(address);
    for (let count = 0; count < 40; count += 1)
      await raw.call("/no.such.Service/Call", { end: true });
    await expect.poll(() => raw.count(FrameType.Headers)).toBe(40);
    for (let count = 0; count < 400 && !raw.isClosed; count += 1) {
      await raw.call("/no.such.Service/Call", { end: true });
    }
    await expect.poll(() => raw.isClosed).toBe(true);
    expect(raw.goAwayCode).toBe(11); // ENHANCE_YOUR_CALM
    expect(await ask(address)).toBe("xxx");
  });
});

describe("the headers of a call", () => {
  /** Those that every call has, as they are counted. */
  const USUAL = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", STAT_TASK],
    [":authority", "test"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
  ].reduce((length, [name = "", value = ""]) => length + name.length + value.length + 32, 0);

  it.each([
    ["as long as they may be", 0, true],
    ["a byte too long", 1, false],
    ["much too long", 40 * KIB, false],
  ])("are %s", async (_, excess, isFine) => {
    const { address, answered } = await serve({});
    const raw = await greet(address);
    const value = "v".repeat(16 * KIB - USUAL - "x-more".length - 32 + excess);
    const headers = [["x-more", value]] as const;
    const streamId = await raw.call(STAT_TASK, { headers, body: statTask("3"), end: true });
    await expect.poll(() => statusesOf(raw, streamId)).toBe(true);
    expect(answered).toEqual(isFine ? ["3"] : []);
    expect(await ask(address)).toBe("xxx");
  });

  it("are far too long for the connection to go on", async () => {
    const { address, answered } = await serve({});
    const raw = await greet(address);
    await raw.call(STAT_TASK, { headers: [["x-more", "v".repeat(80 * KIB)]], end: true });
    await expect.poll(() => raw.goAwayCode).toBe(9); // COMPRESSION_ERROR: nghttp2 reads no further
    expect(answered).toEqual([]);
    expect(await ask(address)).toBe("xxx");
  });

  it("are too many", async () => {
    const { address, answered } = await serve({});
    const raw = await greet(address);
    const headers = Array.from({ length: 200 }, (_, index) => [`x-${index}`, ""] as const);
    const streamId = await raw.call(STAT_TASK, { headers, body: statTask("3"), end: true });
    await expect.poll(() => resetCode(raw, streamId)).toBe(11);
    expect(answered).toEqual([]);
  });
});

describe("messages that are compressed", () => {
  it.each([
    ["gzip", false],
    ["deflate", false],
    ["no encoding that there is", false],
    ["identity", true],
  ])("as %s are taken: %s", async (encoding, isTaken) => {
    const { address, answered } = await serve({});
    const raw = await greet(address);
    const headers = [["grpc-encoding", encoding]] as const;
    const body = isTaken ? statTask("3") : asCompressed(gzipSync(Buffer.alloc(4_000_000, 10)));
    // Of what is refused not even the end is waited for.
    const streamId = await raw.call(STAT_TASK, { headers, body, end: isTaken });
    await expect.poll(() => statusesOf(raw, streamId)).toBe(true);
    expect(answered).toEqual(isTaken ? ["3"] : []);
    if (!isTaken) await expect.poll(() => resetCode(raw, streamId)).toBeDefined();
    expect(await ask(address)).toBe("xxx");
  });

  /** With the mark that says so. */
  function asCompressed(content: Uint8Array): Buffer {
    const message = encodeMessage(Buffer.from(content));
    message[0] = 1;
    return message;
  }
});

describe("a caller that asks slowly", () => {
  const limits = { requestMs: 100 };

  it.each([
    ["says nothing after its headers", Buffer.alloc(0)],
    ["stops in a message's prefix", statTask("3").subarray(0, 3)],
    ["stops in a message", statTask("3").subarray(0, -1)],
    ["does not say that its message was the last", statTask("3")],
  ])("and %s, is cut off", async (_, body) => {
    const { address } = await serve(limits);
    const raw = await greet(address);
    const streamId = await raw.call(STAT_TASK, { body });
    await expect.poll(() => resetCode(raw, streamId)).toBe(CANCEL);
    expect(raw.count(FrameType.Headers, streamId)).toBe(0);
    expect(await ask(address)).toBe("xxx");
  });

  it("and leaves before it has said its last word, leaves nothing behind", async () => {
    const { address, running } = await serve({ requestMs: 200 });
    const slow = await greet(address);
    const cutOff: number[] = [];
    for (let count = 0; count < 20; count += 1) {
      cutOff.push(await slow.call(SYNC_HOST, { body: Buffer.alloc(5) }));
    }
    await expect
      .poll(() => cutOff.map((streamId) => resetCode(slow, streamId)))
      .toEqual(cutOff.map(() => CANCEL));
    await expect.poll(() => running.size).toBe(0);
    const raw = await greet(address);
    for (let count = 0; count < 50; count += 1) {
      const streamId = await raw.call(SYNC_HOST, { body: Buffer.alloc(5) });
      const payload = Buffer.from([0, 0, 0, CANCEL]);
      await raw.write(frame(FrameType.Reset, { streamId, payload }));
    }
    expect(await ask(address)).toBe("xxx");
    await expect.poll(() => running.size).toBe(0);
    await using client = createDfdaemonUploadClient(address);
    for await (const _ of client.syncHost({})) break;
    await expect.poll(() => running.size).toBe(0);
  });

  it("may take its time between the messages of a stream, but not within one", async () => {
    const { address, announced } = await serve(limits);
    const raw = await greet(address);
    const message = encodeMessage(Buffer.from([0x1a, 1, 0x61])); // peer_id: "a"
    const streamId = await raw.call(ANNOUNCE_PEER, { body: message });
    await expect.poll(() => announced.length).toBe(1);
    // Another one whose time runs out meanwhile.
    const silent = await raw.call(ANNOUNCE_PEER);
    await expect.poll(() => resetCode(raw, silent)).toBe(CANCEL);
    expect(resetCode(raw, streamId)).toBeUndefined();
    await raw.write(dataFrames(streamId, message));
    await expect.poll(() => announced.length).toBe(2);
    await raw.write(dataFrames(streamId, message.subarray(0, 6)));
    await expect.poll(() => resetCode(raw, streamId)).toBe(CANCEL);
  });
});

describe("messages that have begun to arrive", () => {
  it("are held up to the bound; beyond it the call that brought nothing for longest is cut off", async () => {
    const { address } = await serve({ unfinishedLengthMax: 100 * KIB });
    const raw = await greet(address);
    const part = Buffer.alloc(10 * KIB);
    part.writeUInt32BE(1_000_000, 1);
    const streamIds: number[] = [];
    const begin = async (): Promise<void> => {
      const streamId = await raw.call(STAT_TASK);
      await raw.send(streamId, part, { end: false });
      streamIds.push(streamId);
    };
    for (let count = 0; count < 10; count += 1) await begin();
    expect(await ask(address)).toBe("xxx"); // few bytes more, and the oldest is gone
    await expect.poll(() => resetCode(raw, streamIds[0]!)).toBe(CANCEL);
    expect(raw.count(FrameType.Reset)).toBe(1);
    for (let count = 0; count < 100; count += 1) await begin();
    await expect.poll(() => raw.count(FrameType.Reset)).toBeGreaterThanOrEqual(100);
    expect(resetCode(raw, streamIds.at(-1)!)).toBeUndefined();
    expect(await ask(address)).toBe("xxx");
  });

  it("are refused at once when they are longer than a message may be", async () => {
    const { address, answered } = await serve({ messageLengthMax: 1_000 });
    await using client = createDfdaemonUploadClient(address);
    const send = async (length: number): Promise<string> => {
      // Two bytes more for the field, and one for a length beyond 127.
      const request = { taskId: "1".padEnd(length - 3, " ") };
      return (await client.statTask(request)).id;
    };
    expect(await send(1_000)).toBe("x");
    await expect(send(1_001)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await expect(send(8_000_000)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(answered).toHaveLength(1);
  });
});

describe("answers that nobody takes", () => {
  /** No byte of any answer's content is taken. */
  const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);

  it("are held up to the bound; beyond it the call that took nothing for longest is cut off", async () => {
    const { address } = await serve({ untakenLengthMax: 100 * KIB });
    const raw = await greet(address, NO_WINDOW);
    const streamIds: number[] = [];
    const begin = async (): Promise<void> => {
      streamIds.push(await raw.call(STAT_TASK, { body: statTask(String(10 * KIB)), end: true }));
    };
    for (let count = 0; count < 9; count += 1) await begin();
    await expect.poll(() => raw.count(FrameType.Headers)).toBe(9);
    expect(raw.count(FrameType.Reset)).toBe(0);
    for (let count = 0; count < 100; count += 1) await begin();
    await expect.poll(() => raw.count(FrameType.Headers, streamIds.at(-1))).toBe(1);
    await expect.poll(() => raw.count(FrameType.Reset)).toBe(100);
    expect(resetCode(raw, streamIds[0]!)).toBe(CANCEL);
    expect(resetCode(raw, streamIds.at(-1)!)).toBeUndefined();
    expect(await ask(address)).toBe("xxx");
  });

  it("are not held for long", async () => {
    const { address } = await serve({ stallMs: 200 });
    const raw = await greet(address, NO_WINDOW);
    const one = await raw.call(STAT_TASK, { body: statTask("1000"), end: true });
    const endless = await raw.call(SYNC_HOST, { body: Buffer.alloc(5), end: true });
    await expect.poll(() => resetCode(raw, one)).toBe(CANCEL);
    await expect.poll(() => resetCode(raw, endless)).toBe(CANCEL);
  });

  it("are none of a caller that reads on", async () => {
    const { address } = await serve({ stallMs: 1_000, untakenLengthMax: 50 * KIB });
    await using client = createDfdaemonUploadClient(address);
    let length = 0;
    let pausedAt = 0;
    for await (const { hostname } of client.syncHost({})) {
      length += hostname.length;
      if (length > 20 * 1024 * KIB) break;
      if (length - pausedAt < 1024 * KIB) continue;
      pausedAt = length;
      await sleep(75); // longer than the bound in all
    }
    expect(length).toBeGreaterThan(20 * 1024 * KIB);
  });
});
