import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage, type Storage } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createContentStream } from "../data-plane/content-stream.ts";
import { DaemonError } from "../errors.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { DEFAULT_REQUEST, FakeOrigin, PIECE_LENGTH } from "../testing/fake-cluster.ts";
import { TaskPreparer } from "./task-preparer.ts";

const CONTENT = randomBytes(3 * PIECE_LENGTH + 17);
/** In the middle of piece 1. */
const BREAK = PIECE_LENGTH + 1000;

let directory: string;
let storage: Storage;
let origin: FakeOrigin;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-preparer-"));
  storage = await openStorage({ directory });
  origin = new FakeOrigin(CONTENT);
  origin.lengthKnown = false;
});
afterEach(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** The process that reads the spool ends at that byte, the first so many times. */
function openPreparer(endCount: number) {
  const opened: number[] = [];
  const pieces: number[] = [];
  const preparer = new TaskPreparer({
    dataPlane: {
      storage,
      async spoolOrigin({ request }) {
        const { stat, content } = await origin.readAll(request);
        return { stat, spool: await storage.spool(content) };
      },
      async openSpool(spool) {
        const ends = opened.push(spool.length) <= endCount;
        async function* content(): AsyncGenerator<Uint8Array> {
          if (!ends) return yield* spool.read({ offset: 0, length: spool.length });
          yield* spool.read({ offset: 0, length: BREAK });
          throw new DaemonError("ERR_DATA_PLANE_LOST", "the process was ended by SIGKILL");
        }
        return createContentStream(content());
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

describe("TaskPreparer, with a file of unknown length", () => {
  it("goes on with the piece that it was at when the process ends that reads what was spooled", async () => {
    const { preparer, opened, pieces } = openPreparer(1);
    const { task } = await preparer.prepare(DEFAULT_REQUEST, new AbortController().signal);
    expect(opened).toHaveLength(2);
    expect(pieces).toEqual([0, 1, 2, 3]);
    expect(origin.readCount).toBe(1);
    const chunks: Uint8Array[] = [];
    for await (const chunk of task.read()) chunks.push(Buffer.from(chunk));
    expect(Buffer.concat(chunks).equals(CONTENT)).toBe(true);
  });

  it("gives up a piece at which that happens three times", async () => {
    const { preparer, opened } = openPreparer(Infinity);
    const preparing = preparer.prepare(DEFAULT_REQUEST, new AbortController().signal);
    await expect(preparing).rejects.toMatchObject({ code: "ERR_DATA_PLANE_LOST" });
    expect(opened).toHaveLength(3);
  });
});
