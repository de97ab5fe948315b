import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { setTimeout } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { backendDetails, encodeBackendDetails } from "./backend-details.ts";
import {
  createDfdaemonUploadClient,
  createSchedulerClient,
  type DfdaemonUploadClient,
  type SchedulerClient,
} from "./clients.ts";
import type { DfdaemonUploadMethods, SchedulerMethods } from "./generated/services.ts";
import { implementService, type ServiceImplementation } from "./implement-service.ts";
import { RpcError, status } from "./rpc-error.ts";
import { serveRpc, type RpcServer } from "./serve-rpc.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const logged: { fields: object; message: string }[] = [];
const logger = {
  error: (fields: object, message: string) => void logged.push({ fields, message }),
  warn: () => {},
};

async function serveUpload(
  implementation: ServiceImplementation<DfdaemonUploadMethods>,
): Promise<{ client: DfdaemonUploadClient; server: RpcServer }> {
  const server = await serveRpc({
    address: { ip: "127.0.0.1", port: 0 },
    services: [implementService("dfdaemon.v2.DfdaemonUpload", implementation)],
    logger,
    graceMs: 1_000,
  });
  const client = createDfdaemonUploadClient(server.address);
  disposables.push(server, client);
  return { client, server };
}

async function serveScheduler(
  implementation: ServiceImplementation<SchedulerMethods>,
): Promise<SchedulerClient> {
  const server = await serveRpc({
    address: { ip: "127.0.0.1", port: 0 },
    services: [implementService("scheduler.v2.Scheduler", implementation)],
    graceMs: 1_000,
  });
  const client = createSchedulerClient(server.address);
  disposables.push(server, client);
  return client;
}

describe("a unary call", () => {
  it("gives the handler the request and the caller the response", async () => {
    const { client } = await serveUpload({
      statLocalTask: async ({ taskId }) => ({ taskId, uploadedCount: 3, pieceLength: 4 << 20 }),
    });
    const response = await client.statLocalTask({ taskId: "t" });
    expect(response).toMatchObject({ taskId: "t", uploadedCount: 3, pieceLength: 4 << 20 });
    expect(response).not.toHaveProperty("contentLength");
  });

  it("calls the handler as a method of its object", async () => {
    class Uploads {
      readonly #pieceCount = 7;
      async statTask(): Promise<{ pieceCount: number }> {
        return { pieceCount: this.#pieceCount };
      }
    }
    const { client } = await serveUpload(new Uploads());
    expect(await client.statTask({ taskId: "t" })).toMatchObject({ pieceCount: 7 });
  });

  it("throws the status that the handler threw, naming method and target", async () => {
    const { client } = await serveUpload({
      statTask: async () => {
        throw status("NOT_FOUND", "local task not found: straße 100%");
      },
    });
    const error = await errorOf(client.statTask({ taskId: "t" }));
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({
      code: "NOT_FOUND",
      reason: "local task not found: straße 100%",
      target: client.target,
      message: `Cannot call dfdaemon.v2.DfdaemonUpload/StatTask at ${client.target}: NOT_FOUND: local task not found: straße 100%`,
    });
  });

  it("carries the details of a status byte for byte", async () => {
    const details = { message: "forbidden", header: { "x-a": "ß" }, statusCode: 403 };
    const { client } = await serveUpload({
      statTask: async () => {
        throw status("INTERNAL", "origin", encodeBackendDetails(details));
      },
    });
    const error = await errorOf(client.statTask({ taskId: "t" }));
    expect(error instanceof RpcError && backendDetails(error)).toEqual(details);
  });

  it("makes INTERNAL of any other error, and logs it", async () => {
    logged.length = 0;
    const failure = new Error("disk on fire");
    const { client } = await serveUpload({
      statTask: async () => {
        throw failure;
      },
    });
    const error = await errorOf(client.statTask({ taskId: "t" }));
    expect(error).toMatchObject({ code: "INTERNAL", reason: "disk on fire" });
    expect(logged).toMatchObject([
      { fields: { err: failure, method: "dfdaemon.v2.DfdaemonUpload/StatTask" } },
    ]);
  });

  it("survives reasons that no header can carry", async () => {
    const { client } = await serveUpload({
      statTask: async ({ taskId }) => {
        if (taskId === "nothing") await Promise.reject(undefined);
        throw new Error(`\uD800${"x".repeat(100_000)}\n`);
      },
    });
    const error = await errorOf(client.statTask({ taskId: "t" }));
    expect(error).toMatchObject({ code: "INTERNAL" });
    expect(error instanceof RpcError && error.reason.length).toBeLessThan(3_000);
    expect(await errorOf(client.statTask({ taskId: "nothing" }))).toMatchObject({
      code: "INTERNAL",
    });
  });

  it("answers UNIMPLEMENTED where there is no handler", async () => {
    const { client } = await serveUpload({});
    expect(await errorOf(client.deleteTask({ taskId: "t" }))).toMatchObject({
      code: "UNIMPLEMENTED",
    });
    expect(await errorOf(drain(client.syncHost({})))).toMatchObject({ code: "UNIMPLEMENTED" });
  });

  it("throws the signal's reason and tells the handler", async () => {
    const handlerLeft = createGate<unknown>();
    const handlerEntered = createGate<void>();
    const { client } = await serveUpload({
      async statTask(_, { signal }) {
        handlerEntered.open();
        await once(signal, "abort");
        handlerLeft.open(signal.reason);
        return {};
      },
    });
    const controller = new AbortController();
    const failed = errorOf(client.statTask({ taskId: "t" }, { signal: controller.signal }));
    await handlerEntered.opened;
    const reason = new Error("user pressed ctrl-c");
    controller.abort(reason);
    expect(await failed).toBe(reason);
    expect(await handlerLeft.opened).toMatchObject({ code: "CANCELLED" });
    const again = client.statTask({ taskId: "t" }, { signal: AbortSignal.abort(reason) });
    expect(await errorOf(again)).toBe(reason);
  });

  it("ends at its time-out", async () => {
    const { client } = await serveUpload({
      async statTask(_, { signal }) {
        await once(signal, "abort");
        return {};
      },
    });
    const error = await errorOf(client.statTask({ taskId: "t" }, { timeoutMs: 50 }));
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("fails with UNAVAILABLE when nobody listens", async () => {
    const { client, server } = await serveUpload({});
    await server.abort();
    expect(await errorOf(client.statTask({ taskId: "t" }))).toMatchObject({ code: "UNAVAILABLE" });
    expect(await errorOf(client.connect({ timeoutMs: 20 }))).toMatchObject({
      code: "UNAVAILABLE",
      reason: "no connection within 20 ms",
    });
  });

  it("takes a message of 8 MiB on either side, and refuses longer ones", async () => {
    // The field, and four bytes for the length of what stands in it.
    const textOf = (length: number): string => "x".repeat(length - 5);
    let answer = "";
    const { client } = await serveUpload({ statTask: async () => ({ id: answer }) });
    const [largest, ...tooLarge] = [8 << 20, (8 << 20) + 1, 64 << 20];
    answer = textOf(largest!);
    expect((await client.statTask({ taskId: answer })).id).toHaveLength(answer.length);
    for (const length of tooLarge) {
      answer = "";
      const request = client.statTask({ taskId: textOf(length) });
      expect(await errorOf(request)).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
      answer = textOf(length);
      const response = client.statTask({ taskId: "t" });
      expect(await errorOf(response)).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    }
  });

  it("refuses an answer beyond 8 MiB, whatever its server may send", async () => {
    const server = await serveRpc({
      address: { ip: "127.0.0.1", port: 0 },
      services: [
        implementService("dfdaemon.v2.DfdaemonUpload", {
          statTask: async ({ taskId }) => ({ id: "x".repeat(Number(taskId) - 5) }),
        }),
      ],
      channelOptions: { "grpc.max_send_message_length": -1 },
      graceMs: 1_000,
    });
    const client = createDfdaemonUploadClient(server.address);
    disposables.push(server, client);
    const ask = (length: number): Promise<{ readonly id: string }> =>
      client.statTask({ taskId: String(length) });
    expect((await ask(8 << 20)).id).toHaveLength((8 << 20) - 5);
    // From 64 MiB on the server has a bound of its own for what nobody takes.
    for (const length of [(8 << 20) + 1, 32 << 20]) {
      expect(await errorOf(ask(length))).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    }
  });
});

describe("a server stream", () => {
  it("yields what the handler yields, and ends", async () => {
    const { client } = await serveUpload({
      async *syncPieces({ interestedPieceNumbers }) {
        for (const number of interestedPieceNumbers) yield { number };
      },
    });
    const numbers = Array.from({ length: 1000 }, (_, index) => index);
    const replies = await drain(client.syncPieces({ interestedPieceNumbers: numbers }));
    expect(replies.map(({ number }) => number)).toEqual(numbers);
  });

  it("yields what came before an error, then throws it", async () => {
    const { client } = await serveUpload({
      async *syncPieces() {
        yield { number: 0 };
        throw status("INTERNAL", "task t not found");
      },
    });
    const replies: number[] = [];
    const reading = (async () => {
      for await (const { number } of client.syncPieces({})) replies.push(number);
    })();
    expect(await errorOf(reading)).toMatchObject({ code: "INTERNAL", reason: "task t not found" });
    expect(replies).toEqual([0]);
  });

  it("sends headers before the first message, for callers that wait for them only so long", async () => {
    const { server } = await serveUpload({
      async *syncPieces(_, { signal }) {
        await once(signal, "abort");
        yield {};
      },
    });
    const session = openSession(server);
    const stream = requestRaw(session, "SyncPieces");
    const [headers] = await once(stream, "response");
    expect(headers).toMatchObject({ ":status": 200 });
    expect(headers).not.toHaveProperty("grpc-status");
    session.destroy();
  });

  it("tells the handler when the caller leaves the loop", async () => {
    const freed = createGate<unknown>();
    const { client } = await serveUpload({
      async *syncPieces(_, { signal }) {
        try {
          yield { number: 0 };
          await once(signal, "abort");
          signal.throwIfAborted();
        } finally {
          freed.open(signal.reason);
        }
      },
    });
    for await (const { number } of client.syncPieces({})) {
      expect(number).toBe(0);
      break;
    }
    expect(await freed.opened).toMatchObject({ code: "CANCELLED" });
  });

  it("ends when its caller takes nothing for longer than the method allows", async () => {
    const freed = createGate<unknown>();
    const implementation: ServiceImplementation<DfdaemonUploadMethods> = {
      async *syncPieces() {
        try {
          for (let number = 0; ; number += 1) yield { number, ip: "x".repeat(60_000) };
        } finally {
          freed.open(undefined);
        }
      },
    };
    const server = await serveRpc({
      address: { ip: "127.0.0.1", port: 0 },
      services: [
        implementService("dfdaemon.v2.DfdaemonUpload", implementation, {
          sendTimeoutsMs: { syncPieces: 20 },
        }),
      ],
      graceMs: 1_000,
    });
    disposables.push(server);
    const session = openSession(server);
    const stream = requestRaw(session, "SyncPieces");
    await once(stream, "response");
    await freed.opened;
    session.destroy();
  });

  it("throws the signal's reason while it waits", async () => {
    const { client } = await serveUpload({
      async *syncHost(_, { signal }) {
        yield { id: "h" };
        await once(signal, "abort");
      },
    });
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("enough");
    const reading = (async () => {
      for await (const { id } of client.syncHost({}, { signal })) {
        expect(id).toBe("h");
        setImmediate(() => controller.abort(reason));
      }
    })();
    expect(await errorOf(reading)).toBe(reason);
    expect(await errorOf(drain(client.syncHost({}, { signal })))).toBe(reason);
  });

  it("tells the handler when the caller's process is gone", async () => {
    const freed = createGate<unknown>();
    const { server } = await serveUpload({
      async *syncPieces(_, { signal }) {
        yield { number: 0 };
        await once(signal, "abort");
        freed.open(signal.reason);
      },
    });
    const session = openSession(server);
    const stream = requestRaw(session, "SyncPieces");
    await once(stream, "data");
    session.socket.destroySoon(); // the end of its bytes, and no word of HTTP/2
    expect(await freed.opened).toMatchObject({ code: "CANCELLED" });
  });

  it("is pulled no faster than the caller reads", async () => {
    let pulledCount = 0;
    const peerId = "x".repeat(100_000);
    const { client } = await serveUpload({
      async *downloadTask() {
        for (; pulledCount < 200; pulledCount += 1) yield { peerId };
      },
    });
    let takenCount = 0;
    for await (const reply of client.downloadTask({})) {
      expect(reply.peerId).toHaveLength(peerId.length);
      takenCount += 1;
      if (takenCount > 1) continue;
      await untilQuiet(() => pulledCount);
      expect(pulledCount).toBeLessThan(100);
    }
    expect(takenCount).toBe(200);
  });

  it("outlives the caller's deadline on SyncPieces, and on nothing else", async () => {
    const gate = createGate<void>();
    const { server } = await serveUpload({
      async *syncPieces() {
        await gate.opened;
        yield { number: 5 };
      },
      async *downloadTask(_, { signal }) {
        await once(signal, "abort");
        yield {};
      },
    });
    const session = openSession(server);
    const untimed = requestRaw(session, "SyncPieces", { "grpc-timeout": "50m" });
    const timed = requestRaw(session, "DownloadTask", { "grpc-timeout": "50m" });
    // Nothing came before the deadline: the answer is one header block.
    const [timedHeaders] = await once(timed.resume(), "response");
    expect(timedHeaders).toMatchObject({ "grpc-status": "4" });
    gate.open();
    const [untimedTrailers] = await once(untimed.resume(), "trailers");
    expect(untimedTrailers).toMatchObject({ "grpc-status": "0" });
    session.destroy();
  });
});

describe("a call on which both sides send", () => {
  it("carries messages both ways and ends well", async () => {
    const client = await serveScheduler({
      async announcePeer({ requests, write }) {
        for await (const { peerId } of requests) {
          await write({ needBackToSourceResponse: { description: peerId } });
        }
        await write({ emptyTaskResponse: {} });
      },
    });
    const call = client.announcePeer();
    const replies = call[Symbol.asyncIterator]();
    for (const peerId of ["a", "b"]) {
      await call.write({ peerId });
      const { value } = await replies.next();
      expect(value).toMatchObject({ needBackToSourceResponse: { description: peerId } });
    }
    call.end();
    expect(await replies.next()).toMatchObject({ value: { response: "emptyTaskResponse" } });
    expect(await replies.next()).toEqual({ done: true, value: undefined });
    await call[Symbol.asyncDispose]();
  });

  it("lets the server push what was not asked for", async () => {
    const client = await serveScheduler({
      async announcePeer({ write }) {
        for (let count = 0; count < 3; count += 1) await write({ normalTaskResponse: {} });
      },
    });
    const call = client.announcePeer();
    expect(await drain(call)).toHaveLength(3);
  });

  it("throws the server's status where the caller reads and where it writes", async () => {
    const client = await serveScheduler({
      async announcePeer({ requests }) {
        for await (const { peerId } of requests)
          throw status("FAILED_PRECONDITION", `no ${peerId}`);
      },
    });
    const call = client.announcePeer();
    await call.write({ peerId: "p" });
    const expected = { code: "FAILED_PRECONDITION", reason: "no p" };
    expect(await errorOf(drain(call))).toMatchObject(expected);
    expect(await errorOf(call.write({ peerId: "q" }))).toMatchObject(expected);
  });

  it("holds a writer back, and lets it go when the call ends", async () => {
    const client = await serveScheduler({
      async announcePeer({ signal }) {
        await once(signal, "abort");
      },
    });
    const call = client.announcePeer();
    const peerId = "x".repeat(1 << 20);
    let writtenCount = 0;
    const writing = (async () => {
      for (; writtenCount < 1000; writtenCount += 1) await call.write({ peerId });
    })();
    const failed = errorOf(writing);
    await expect.poll(() => writtenCount).toBeGreaterThan(0);
    call.cancel();
    expect(await failed).toMatchObject({ code: "CANCELLED" });
    expect(writtenCount).toBeLessThan(100);
  });

  it("tells the handler that the caller has left, wherever it waits", async () => {
    const failures: unknown[] = [];
    const entered = createGate<void>();
    const left = createGate<void>();
    const client = await serveScheduler({
      async announcePeer({ requests, signal, write }) {
        entered.open();
        failures.push(await errorOf(drain(requests)));
        failures.push(signal.reason, await errorOf(write({})));
        left.open();
      },
    });
    const controller = new AbortController();
    const call = client.announcePeer({ signal: controller.signal });
    const reading = errorOf(drain(call));
    await entered.opened;
    const reason = new Error("gone");
    controller.abort(reason);
    expect(await reading).toBe(reason);
    expect(await errorOf(call.write({}))).toBe(reason);
    await left.opened;
    expect(failures).toMatchObject([
      { code: "CANCELLED" },
      { code: "CANCELLED" },
      { code: "CANCELLED" },
    ]);
  });
});

/** Waits until `count` stands still for a while: flow control has stopped the other side. */
async function untilQuiet(count: () => number): Promise<void> {
  for (let before = -1; before !== count();) {
    before = count();
    await setTimeout(100);
  }
}

function openSession({ address }: RpcServer): ClientHttp2Session {
  if (!("port" in address)) throw new TypeError("A server on TCP is wanted");
  const session = connectHttp2(`http://${address.ip}:${address.port}`);
  session.on("error", () => {});
  return session;
}

/** A call as another implementation makes it, with an empty request. */
function requestRaw(session: ClientHttp2Session, method: string, headers: object = {}) {
  const stream = session.request({
    ":method": "POST",
    ":path": `/dfdaemon.v2.DfdaemonUpload/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5));
  return stream;
}

async function drain<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const drained: T[] = [];
  for await (const message of messages) drained.push(message);
  return drained;
}

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new RangeError("Expected a failure");
}

function createGate<T>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: ((value: T) => void) | undefined;
  const opened = new Promise<T>((resolve) => (open = resolve));
  return { opened, open: (value) => open?.(value) };
}
