import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage, type StoredTask } from "@damselfly/storage";
import { createMemoryTransport } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { FakeOrigin } from "../testing/fake-cluster.ts";
import { ContentLimits, DEFAULT_CONTENT_LIMITS } from "./content-limits.ts";
import { InProcessDataPlane } from "./in-process-data-plane.ts";

const PIECE_LENGTH = 1000;
const PIECE_COUNT = 3;

describe("InProcessDataPlane", () => {
  let directory = "";
  const opened: AsyncDisposable[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "damselfly-data-plane-"));
  });
  afterEach(async () => {
    for (const resource of opened.splice(0).toReversed()) await resource[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  it("goes round a protocol that does not get through, and says so once", async () => {
    const warnings: string[] = [];
    const logger = {
      ...SILENT_LOGGER,
      warn: (_: object, message: string) => warnings.push(message),
    };
    const parentStorage = await openStorage({ directory: join(directory, "parent") });
    opened.push(parentStorage);
    const task = await createTask(parentStorage);
    for (let number = 0; number < PIECE_COUNT; number += 1) {
      const draft = { number, trafficType: "BACK_TO_SOURCE" as const, parentId: "" };
      await task.writePiece(draft, pieceContent(number));
    }
    const grpc = createMemoryTransport({ protocol: "grpc" });
    const server = grpc.servePieces({ source: parentStorage });

    const childStorage = await openStorage({ directory: join(directory, "child") });
    const child = new InProcessDataPlane({
      limits: new ContentLimits(DEFAULT_CONTENT_LIMITS),
      storage: childStorage,
      origin: new FakeOrigin(Buffer.alloc(0)),
      servers: [],
      // On a network of its own: it reaches nobody.
      downloaders: [
        createMemoryTransport({ protocol: "quic" }).createDownloader(),
        grpc.createDownloader(),
      ],
      tls: false,
      logger,
    });
    opened.push(child);
    const copy = await createTask(childStorage);
    const ports = { ...server.parent.ports, quic: [1] };
    const fetch = (pieceNumber: number) =>
      child.fetchPiece({
        task: copy,
        pieceNumber,
        parent: { ...server.parent, ports },
        signal: new AbortController().signal,
      });
    await Promise.all([fetch(0), fetch(1)]);
    await fetch(2);

    expect(copy.complete).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/^quic does not get through, .* for \d+ s: /)]);
  });
});

async function createTask(storage: Awaited<ReturnType<typeof openStorage>>): Promise<StoredTask> {
  return await storage.createTask({
    taskId: "a".repeat(64),
    url: "http://origin.test/file",
    contentLength: PIECE_LENGTH * PIECE_COUNT,
    pieceLength: PIECE_LENGTH,
    contentVersion: "",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 0,
  });
}

async function* pieceContent(number: number): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(PIECE_LENGTH, number + 1);
}
