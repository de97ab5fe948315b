import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@damselfly/limits/testing";
import {
  createDfdaemonDownloadClient,
  serveRpc,
  type DfdaemonDownloadClient,
} from "@damselfly/rpc";
import type { PieceRecord } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMetrics } from "../metrics/metrics.ts";
import { LocalContent } from "./local-content.ts";
import { createDownloadService, type ServiceParts } from "./services.ts";

const MIB = 1024 * 1024;
const PIECE_LENGTH = 4 * MIB;
/** Two pieces, twice each: what one call may hold. */
const MEMORY_LENGTH = 16 * MIB;

let clock: FakeClock;
let local: LocalContent;
let usedLengthMax: number;
let directory: string;
let client: DfdaemonDownloadClient;
let opened: AsyncDisposable[];

/** A file on disk; so many pieces of it are handed out. */
const manager = {
  async *download({ tag }: { readonly tag: string }) {
    const facts = { contentLength: 1_000 * PIECE_LENGTH, responseHeader: {} };
    const bounds = (number: number) => ({ offset: number * PIECE_LENGTH, length: PIECE_LENGTH });
    const readPiece = async (): Promise<Uint8Array> => {
      usedLengthMax = Math.max(usedLengthMax, local.usedLength);
      return new Uint8Array(PIECE_LENGTH);
    };
    const task = { facts, bounds, readPiece, complete: true, onChange: () => () => {} };
    yield { kind: "started", peerId: "peer", task, range: undefined, pieceNumbers: [] };
    for (let number = 0; number < Number(tag); number += 1) {
      const piece: PieceRecord = {
        number,
        ...bounds(number),
        digest: "crc32:0",
        trafficType: "LOCAL_PEER",
        parentId: "",
        costMs: 0,
        createdAtMs: 0,
      };
      yield { kind: "piece", piece };
    }
  },
};

beforeEach(async () => {
  clock = new FakeClock();
  local = new LocalContent(MEMORY_LENGTH, clock);
  usedLengthMax = 0;
  opened = [];
  directory = await mkdtemp(join(tmpdir(), "damselfly-local-content-"));
  const parts = {
    dataPlane: { storage: {} },
    manager,
    scheduler: undefined,
    host: { id: "h" },
    metrics: createMetrics({ version: "0", platform: "test", storageDirectory: "/" }),
    localContent: local,
    onRequest: () => {},
  };
  const socketPath = join(directory, "socket");
  const server = await serveRpc({
    address: { socketPath, mode: 0o600 },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a test that needs more would fail
    services: [createDownloadService(parts as unknown as ServiceParts)],
    channelOptions: { "grpc.max_send_message_length": 65 * MIB },
    graceMs: 0,
  });
  client = createDfdaemonDownloadClient({ socketPath });
  opened.push(server, client);
});
afterEach(async () => {
  for (const each of opened.toReversed()) await each[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** What `dfget -O -` asks for. */
function ask(pieceCount: number, signal?: AbortSignal) {
  const download = { url: "http://origin/file", tag: `${pieceCount}`, needPieceContent: true };
  return client.downloadTask({ download }, signal === undefined ? {} : { signal });
}

async function read(pieceCount: number): Promise<number> {
  let received = 0;
  for await (const { downloadPieceFinishedResponse } of ask(pieceCount)) {
    received += downloadPieceFinishedResponse?.piece?.content?.byteLength ?? 0;
  }
  return received;
}

/** A program that pauses, and has all memory there is. */
async function pauseWithAll(): Promise<() => void> {
  const controller = new AbortController();
  const responses = ask(1_000, controller.signal)[Symbol.asyncIterator]();
  await responses.next();
  // It takes what fits into sockets and pipes first; whoever asks meanwhile would have what it gives back in between.
  let timesInARow = 0;
  const look = (): number => {
    timesInARow = local.usedLength === MEMORY_LENGTH ? timesInARow + 1 : 0;
    return timesInARow;
  };
  await expect.poll(look, { interval: 20, timeout: 10_000 }).toBeGreaterThan(25);
  return () => controller.abort(new Error("ended"));
}

describe("content for programs on this node", () => {
  it("takes no more memory than it may, however many read at once, and all get everything", async () => {
    const received = await Promise.all(Array.from({ length: 8 }, () => read(3)));
    expect(received).toEqual(received.map(() => 3 * PIECE_LENGTH));
    expect(usedLengthMax).toBe(MEMORY_LENGTH);
    await expect.poll(() => local.usedLength).toBe(0);
  });

  it("waits for a program that pauses, and goes on when it has ended", async () => {
    const end = await pauseWithAll();
    const reading = Promise.all(Array.from({ length: 8 }, () => read(3)));
    const begun = ask(3)[Symbol.asyncIterator]();
    expect((await begun.next()).done).toBe(false); // it is told what is coming
    end();
    await begun.return?.();
    expect(await reading).toEqual(Array.from({ length: 8 }, () => 3 * PIECE_LENGTH));
    expect(usedLengthMax).toBe(MEMORY_LENGTH);
    await expect.poll(() => local.usedLength).toBe(0);
  });

  it("is refused to others after a minute, not to the one that pauses", async () => {
    const end = await pauseWithAll();
    const outcomes = Array.from({ length: 20 }, () => read(3).catch((error: unknown) => error));
    const first = Promise.race(outcomes);
    let isRefused = false;
    void first.then(() => (isRefused = true));
    await expect
      .poll(
        async () => {
          await clock.pass(60_000);
          return isRefused;
        },
        { timeout: 10_000 },
      )
      .toBe(true);
    expect(await first).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("dataPlane.memoryLimit"),
    });
    expect(local.usedLength).toBe(MEMORY_LENGTH);
    end();
    await Promise.all(outcomes);
    expect(usedLengthMax).toBe(MEMORY_LENGTH);
    expect(await read(3)).toBe(3 * PIECE_LENGTH);
  });
});
