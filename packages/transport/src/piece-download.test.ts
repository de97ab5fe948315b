import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createGate, failureOf } from "./conformance.ts";
import { createPieceDownload, type PieceDownloadInit } from "./piece-download.ts";

describe("createPieceDownload", () => {
  it("yields the chunks as they are, but for empty ones, and closes once", async () => {
    const chunks = [bytes(3), bytes(0), bytes(2)];
    const { download, closed } = open({ chunks: streamOf(chunks) });
    const received: Uint8Array[] = [];
    for await (const chunk of download.content) received.push(chunk);
    expect(received).toEqual([bytes(3), bytes(2)]);
    expect(received[0]).toBe(chunks[0]);
    await download[Symbol.asyncDispose]();
    expect(closed).toEqual([undefined]);
  });

  it("pulls nothing before it is asked", async () => {
    let pulledCount = 0;
    const chunks = (async function* () {
      for (;;) {
        pulledCount += 1;
        yield bytes(1);
      }
    })();
    const { download } = open({ chunks });
    const iterator = download.content[Symbol.asyncIterator]();
    expect(pulledCount).toBe(0);
    await iterator.next();
    await iterator.next();
    expect(pulledCount).toBe(2);
    await iterator.return?.();
  });

  it.each([
    { name: "too little", lengths: [3, 1], code: "ERR_PIECE_TRUNCATED", message: "after 4 of 5" },
    { name: "nothing", lengths: [], code: "ERR_PIECE_TRUNCATED", message: "after 0 of 5" },
    { name: "too much at once", lengths: [3, 3], code: "ERR_PROTOCOL", message: "more arrived" },
    { name: "more at the end", lengths: [5, 1], code: "ERR_PROTOCOL", message: "more arrived" },
  ])("throws when $name arrives", async ({ lengths, code, message }) => {
    const { download, closed } = open({ chunks: streamOf(lengths.map(bytes)) });
    const error = await failureOf(drain(download.content));
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(closed).toEqual([{ reason: error }]);
  });

  it("throws what the transport throws", async () => {
    const reason = new Error("connection reset");
    const chunks = (async function* () {
      yield bytes(1);
      throw reason;
    })();
    const { download, closed } = open({ chunks });
    expect(await failureOf(drain(download.content))).toBe(reason);
    expect(closed).toEqual([{ reason }]);
  });

  it("ends a pull that waits when it is disposed", async () => {
    const { download, closed } = open({ chunks: stuckAfter(bytes(1)) });
    const failed = failureOf(drain(download.content));
    await download[Symbol.asyncDispose]();
    expect(await failed).toMatchObject({ code: "ERR_CLOSED" });
    expect(closed).toHaveLength(1);
  });

  it("waits for each chunk as long as for the first, however long its consumer has taken", async () => {
    const { download, closed } = open({ chunks: stuckAfter(bytes(1)), stallMs: 50 });
    const iterator = download.content[Symbol.asyncIterator]();
    await iterator.next();
    await sleep(200);
    expect(closed).toEqual([]);
    const error = await failureOf(iterator.next());
    expect(error).toMatchObject({
      code: "ERR_PARENT_STALLED",
      message: expect.stringContaining("nothing arrived for 50 ms"),
    });
    expect(closed).toEqual([{ reason: error }]);
  });

  it("ends a pull that begins as the signal aborts", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const chunks: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          controller.abort(reason);
          await createGate().opened;
          return { done: true, value: undefined };
        },
      }),
    };
    const { download, closed } = open({ chunks, signal: controller.signal });
    expect(await failureOf(drain(download.content))).toBe(reason);
    expect(closed).toEqual([{ reason }]);
  });

  it("closes at once when the signal has aborted before", async () => {
    const reason = new Error("enough");
    const { download, closed } = open({ signal: AbortSignal.abort(reason) });
    expect(closed).toEqual([{ reason }]);
    expect(await failureOf(drain(download.content))).toBe(reason);
  });

  it("keeps throwing after it has failed", async () => {
    const { download } = open({ chunks: streamOf([]) });
    const iterator = download.content[Symbol.asyncIterator]();
    const error = await failureOf(iterator.next());
    expect(await failureOf(iterator.next())).toBe(error);
  });

  it("does not end well for one who left and asks again", async () => {
    const { download } = open({ chunks: streamOf([bytes(1), bytes(4)]) });
    const iterator = download.content[Symbol.asyncIterator]();
    await iterator.next();
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    expect(await failureOf(iterator.next())).toMatchObject({ code: "ERR_CLOSED" });
  });

  it("says so when its content is asked for twice", async () => {
    const { download } = open({ chunks: streamOf([bytes(5)]) });
    await drain(download.content);
    expect(() => download.content[Symbol.asyncIterator]()).toThrow(TypeError);
  });

  it("waits until the transport has closed, and passes on how that failed", async () => {
    const failure = new Error("Cannot close stream");
    const close = async (): Promise<void> => Promise.reject(failure);
    const controller = new AbortController();
    const { download } = open({ close, signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(download[Symbol.asyncDispose]()).rejects.toBe(failure);
  });
});

/** A download of five bytes; `closed` collects what `close` was called with. */
function open(init: Partial<PieceDownloadInit>): {
  download: ReturnType<typeof createPieceDownload>;
  closed: unknown[];
} {
  const closed: unknown[] = [];
  const download = createPieceDownload({
    piece: { number: 0, offset: 0, length: 5, digest: "crc32:0" },
    hostId: "parent",
    chunks: streamOf([bytes(5)]),
    stallMs: 10_000,
    close: (failure) => void closed.push(failure),
    ...init,
  });
  return { download, closed };
}

function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(7);
}

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function* stuckAfter(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
  await createGate().opened;
}

async function drain(content: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of content) expect(chunk.byteLength).toBeGreaterThan(0);
}
