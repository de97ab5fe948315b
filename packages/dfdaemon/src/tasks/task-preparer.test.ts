import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage, type Spool, type Storage, type StoredTask } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createContentStream } from "../data-plane/content-stream.ts";
import { DaemonError } from "../errors.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { DEFAULT_REQUEST, FakeOrigin, PIECE_LENGTH } from "../testing/fake-cluster.ts";
import { openGate } from "../testing/open-gate.ts";
import { TaskPreparer } from "./task-preparer.ts";

const CONTENT = randomBytes(3 * PIECE_LENGTH + 17);
/** In the middle of piece 1. */
const BREAK = PIECE_LENGTH + 1000;

let directory: string;
let storage: Storage;
let origin: FakeOrigin;
/** By the clock of the storage. */
let nowMs: number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-preparer-"));
  nowMs = Date.now();
  storage = await openStorage({ directory, clock: { now: () => nowMs } });
  origin = new FakeOrigin(CONTENT);
  origin.lengthKnown = false;
});
afterEach(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/**
 * The process that reads the spool ends at that byte, the first so many times.
 *
 * @param waits called when a spool has been received, and before each time that it is read
 */
function openPreparer(
  endCount: number,
  waits: {
    readonly received?: () => Promise<void>;
    readonly opening?: (timesOpened: number) => Promise<void>;
    /** Called when that piece has been written, before the next one is. */
    readonly written?: (number: number) => Promise<void>;
  } = {},
) {
  const opened: Spool[] = [];
  const pieces: number[] = [];
  const preparer = new TaskPreparer({
    dataPlane: {
      storage,
      async spoolOrigin({ request }) {
        const { stat, content } = await origin.readAll(request);
        const spool = await storage.spool(content);
        await waits.received?.();
        return { stat, spool };
      },
      async openSpool(spool) {
        const ends = opened.push(spool) <= endCount;
        await waits.opening?.(opened.filter((each) => each === spool).length);
        async function* content(): AsyncGenerator<Uint8Array> {
          if (!ends) return yield* spool.read({ offset: 0, length: spool.length });
          yield* spool.read({ offset: 0, length: BREAK });
          throw new DaemonError("ERR_DATA_PLANE_LOST", "the process was ended by SIGKILL");
        }
        const stream = createContentStream(content());
        return {
          ...stream,
          next(length) {
            const slice = stream.next(length);
            const rest = async (): Promise<void> => {
              await slice.rest();
              await waits.written?.(pieces.length);
            };
            return { content: slice.content, rest };
          },
        };
      },
    },
    origin,
    flightOf: () => undefined,
    closing: new AbortController().signal,
    logger: SILENT_LOGGER,
    observer: { bytes() {}, piece: ({ number }) => void pieces.push(number) },
  });
  return { preparer, opened, pieces };
}

async function contentOf(task: StoredTask): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of task.read()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

describe("TaskPreparer, with a file of unknown length", () => {
  it("goes on with the piece that it was at when the process ends that reads what was spooled", async () => {
    const { preparer, opened, pieces } = openPreparer(1);
    const { task } = await preparer.prepare(DEFAULT_REQUEST, new AbortController().signal);
    expect(opened).toHaveLength(2);
    expect(pieces).toEqual([0, 1, 2, 3]);
    expect(origin.readCount).toBe(1);
    expect((await contentOf(task)).equals(CONTENT)).toBe(true);
  });

  it("keeps the room that it was promised, and is not evicted, however long it takes to write it", async () => {
    const seen: unknown[] = [];
    const { preparer } = openPreparer(0, {
      written: async (number) => {
        nowMs += 11_000;
        const { reservedBytes } = await storage.usage();
        seen.push([number, reservedBytes, await storage.evictTask(DEFAULT_REQUEST.taskId)]);
      },
    });
    const { task } = await preparer.prepare(DEFAULT_REQUEST, new AbortController().signal);
    expect(seen).toEqual([
      [0, 2 * PIECE_LENGTH + 17, "busy"],
      [1, PIECE_LENGTH + 17, "busy"],
      [2, 17, "busy"],
      [3, 0, "busy"],
    ]);
    expect((await contentOf(task)).equals(CONTENT)).toBe(true);
    expect(await storage.evictTask(DEFAULT_REQUEST.taskId)).toBe("evicted");
  });

  it("gives up a piece at which that happens three times", async () => {
    const { preparer, opened } = openPreparer(Infinity);
    const preparing = preparer.prepare(DEFAULT_REQUEST, new AbortController().signal);
    await expect(preparing).rejects.toMatchObject({ code: "ERR_DATA_PLANE_LOST" });
    expect(opened).toHaveLength(3);
  });

  it("makes no mix of what two callers with different rights have read where nothing tells its versions apart", async () => {
    const other = randomBytes(CONTENT.length);
    origin.etag = "";
    let receivedCount = 0;
    const bothReceived = openGate();
    const { preparer } = openPreparer(1, {
      // Both have read all of it before either writes any of it.
      received: async () => {
        receivedCount += 1;
        if (receivedCount === 2) bothReceived.resolve();
        await bothReceived.promise;
      },
      // Whoever begins to write is interrupted at the second piece, and would let the other one write it.
      opening: async (timesOpened) => {
        if (timesOpened === 2) await new Promise((resolve) => setTimeout(resolve, 50));
      },
    });
    const { url } = DEFAULT_REQUEST.origin;
    const asked = { ...DEFAULT_REQUEST, askedAtMs: Date.now() };
    const preparing = [{}, { authorization: "another" }].map(async (header, earlierCount) => {
      await expect.poll(() => receivedCount, { timeout: 20_000 }).toBe(earlierCount);
      if (earlierCount === 1) origin.content = other;
      const request = { ...asked, origin: { url, header } };
      return await preparer.prepare(request, new AbortController().signal);
    });
    const prepared = await Promise.all(preparing);
    const contents = await Promise.all(prepared.map(({ task }) => contentOf(task)));
    const isOne = (content: Buffer): boolean => content.equals(CONTENT) || content.equals(other);
    expect(contents.map(isOne)).toEqual([true, true]);
  });
});

describe("TaskPreparer, asked what a file is by somebody who does not want it", () => {
  const QUESTION = { ...DEFAULT_REQUEST, metadataOnly: true };
  const OTHER_ID = "0".repeat(64);
  const { signal } = new AbortController();

  it("makes nobody make way for it", async () => {
    origin.lengthKnown = true;
    await storage[Symbol.asyncDispose]();
    const makeRoom = async (): Promise<boolean> =>
      (await storage.evictTask(OTHER_ID)) === "evicted";
    const quotaBytes = CONTENT.length + PIECE_LENGTH / 2;
    storage = await openStorage({ directory, quotaBytes, makeRoom });
    const { preparer } = openPreparer(0);
    const other = await preparer.prepare({ ...DEFAULT_REQUEST, taskId: OTHER_ID }, signal);
    const { length } = other.task.bounds(0);
    const draft = { number: 0, trafficType: "BACK_TO_SOURCE", parentId: "" } as const;
    async function* content(): AsyncGenerator<Uint8Array> {
      yield CONTENT.subarray(0, length);
    }
    await other.task.writePiece(draft, content());
    other.task.retain()();

    const { task } = await preparer.prepare(QUESTION, signal);
    expect(task.facts.contentLength).toBe(CONTENT.length);
    expect((await storage.openTask(OTHER_ID))?.pieces.size).toBe(1);
    // Who wants it has the other one make way.
    await preparer.prepare(DEFAULT_REQUEST, signal);
    expect(await storage.openTask(OTHER_ID)).toBeUndefined();
  });

  it("reads nothing of one whose length nobody says", async () => {
    const { preparer } = openPreparer(0);
    await expect(preparer.prepare(QUESTION, signal)).rejects.toMatchObject({
      code: "ERR_UNSUPPORTED",
      message: expect.stringContaining("all of it would have to be read"),
    });
    expect(origin.readCount).toBe(0);
    // Nor does he who wants it suffer from him who asks at the same time.
    const [asking, wanting] = await Promise.allSettled([
      preparer.prepare(QUESTION, signal),
      preparer.prepare(DEFAULT_REQUEST, signal),
    ]);
    expect([asking.status, wanting.status]).toEqual(["rejected", "fulfilled"]);
  });

  it("asks no origin for another host about a file that is not here, nor here as a whole", async () => {
    origin.lengthKnown = true;
    const { preparer } = openPreparer(0);
    const inquiry = { ...QUESTION, forOthers: true };
    const notHere = { code: "ERR_NOT_HERE" };
    await expect(preparer.prepare(inquiry, signal)).rejects.toMatchObject(notHere);
    expect(origin.statCount).toBe(0);
    await preparer.prepare(DEFAULT_REQUEST, signal);
    await expect(preparer.prepare(inquiry, signal)).rejects.toMatchObject(notHere);
    expect(origin.statCount).toBe(1);
  });

  it("tells another host what is here as a whole, and asks the origin where he has other rights", async () => {
    const { preparer } = openPreparer(0);
    const { task } = await preparer.prepare(DEFAULT_REQUEST, signal);
    origin.lengthKnown = true;
    const inquiry = { ...QUESTION, forOthers: true };
    expect((await preparer.prepare(inquiry, signal)).task).toBe(task);
    expect(origin.statCount).toBe(1);
    const { url } = DEFAULT_REQUEST.origin;
    const other = { ...inquiry, origin: { url, header: { authorization: "another" } } };
    expect((await preparer.prepare(other, signal)).task).toBe(task);
    expect(origin.statCount).toBe(2);
  });
});
