import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@damselfly/rpc";
import { openStorage, type Storage, type StorageUsage, type StoredTask } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CacheGc, type CacheGcOptions } from "./cache-gc.ts";
import type { Eviction, EvictionPolicy } from "./plan-eviction.ts";

const DAY_MS = 86_400_000;
const LENGTH = 100_000;
/** A disk that is never full: what is evicted is so for the quota. */
const POLICY: EvictionPolicy = {
  taskTtlMs: 30 * DAY_MS,
  quotaBytes: 0,
  highPercent: 80,
  lowPercent: 60,
};

let directory: string;
let storage: Storage;
let nowMs: number;
let log: string[];
let told: string[];
let evicted: Eviction[];
let gc: CacheGc;
let refusal: Error | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-gc-"));
  nowMs = Date.now();
  log = [];
  told = [];
  evicted = [];
  refusal = undefined;
  storage = await openStorage({ directory, clock: { now: () => nowMs } });
});

afterEach(async () => {
  await gc[Symbol.asyncDispose]();
  await storage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

function open(policy: Partial<EvictionPolicy> = {}, options: Partial<CacheGcOptions> = {}): void {
  const write =
    (level: string) =>
    (_fields: object, message: string): void =>
      void log.push(`${level} ${message}`);
  gc = new CacheGc({
    storage,
    policy: { ...POLICY, ...policy },
    intervalMs: 3_600_000,
    scheduler: {
      clientsFor: () => [
        {
          deleteTask: async ({ taskId = "" }) => {
            told.push(taskId);
            if (refusal !== undefined) throw refusal;
            return {};
          },
        },
      ],
    },
    hostId: "10.0.0.1-node",
    now: () => nowMs,
    logger: {
      debug: write("debug"),
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
    },
    observer: { evicted: (eviction) => void evicted.push(eviction), looked: () => undefined },
    ...options,
  });
}

function idOf(number: number): string {
  return String(number).repeat(64);
}

/** On disk, the next one used later than the ones before. */
async function taskOf(number: number): Promise<StoredTask> {
  nowMs += 60_000;
  const task = await storage.createTask({
    taskId: idOf(number),
    url: "http://origin.invalid/",
    contentLength: LENGTH,
    pieceLength: LENGTH,
    contentVersion: "v1",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: nowMs,
  });
  async function* content(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(LENGTH, number);
  }
  const draft = { number: 0, trafficType: "BACK_TO_SOURCE", parentId: "" } as const;
  await task.writePiece(draft, content());
  await task.seal();
  return task;
}

async function here(): Promise<number[]> {
  const { tasks } = await storage.usage();
  return tasks.map(({ taskId }) => Number(taskId[0])).toSorted((a, b) => a - b);
}

describe("CacheGc", () => {
  it("evicts the least recently used down to the low mark, and tells their scheduler", async () => {
    open({ quotaBytes: 500_000 });
    for (const number of [1, 2, 3, 4]) await taskOf(number);
    nowMs += 60_000;
    // Used again: it is not the next to go.
    for await (const _ of (await storage.openTask(idOf(1)))!.read());
    const { shortBytes } = await gc.collect();
    expect(shortBytes).toBe(0);
    expect(await here()).toEqual([1, 4]);
    expect(evicted.map(({ reason }) => reason)).toEqual(["room", "room"]);
    await gc[Symbol.asyncDispose]();
    expect(told).toEqual([idOf(2), idOf(3)]);
    expect(log).toEqual([
      expect.stringMatching(/^info evicted 2 of the tasks stored here, \d+ bytes: 0 unused/),
    ]);
  });

  it("evicts what nobody has used for too long", async () => {
    open();
    await taskOf(1);
    nowMs += 20 * DAY_MS;
    await taskOf(2);
    nowMs += 15 * DAY_MS;
    await gc.collect();
    expect(await here()).toEqual([2]);
    expect(evicted).toMatchObject([{ taskId: idOf(1), reason: "expired" }]);
  });

  it("does so at the start, and at each interval", async () => {
    let looks = 0;
    const seen = new Promise<void>((resolve) => {
      open(
        {},
        {
          intervalMs: 1,
          observer: {
            evicted: () => undefined,
            looked: () => {
              looks += 1;
              if (looks === 3) resolve();
            },
          },
        },
      );
    });
    gc.start();
    await seen;
  });

  it("passes over what is pinned or in use, and says once that more is asked of it than it has", async () => {
    open({ quotaBytes: 200_000, lowPercent: 1 });
    await taskOf(1);
    await storage.pinTask(idOf(1), true);
    const release = (await taskOf(2)).retain();
    await taskOf(3);
    await gc.collect();
    expect(await here()).toEqual([1, 2]);
    const isShort = (line: string): boolean => line.includes("has nothing left to give");
    await gc.collect();
    expect(log.filter(isShort)).toHaveLength(1);
    release();
    await storage.pinTask(idOf(1), false);
    await gc.collect();
    expect(await here()).toEqual([]);
  });

  it("takes somebody else in the place of one that is used at the last moment", async () => {
    const busy = await taskOf(1);
    await taskOf(2);
    // What it sees is free.
    const usage = await storage.usage();
    let release: (() => void) | undefined;
    let isFirst = true;
    const stale: Storage = Object.create(storage, {
      usage: {
        value: async (): Promise<StorageUsage> => {
          if (!isFirst) return await storage.usage();
          isFirst = false;
          release ??= busy.retain();
          return usage;
        },
      },
      evictTask: { value: (taskId: string) => storage.evictTask(taskId) },
    });
    open({ quotaBytes: 210_000, lowPercent: 70 }, { storage: stale });
    await gc.collect();
    release?.();
    expect(await here()).toEqual([1]);
  });

  it("counts and keeps what it cannot read, and says so once", async () => {
    open({ quotaBytes: 250_000, lowPercent: 1 });
    await taskOf(1);
    await storage[Symbol.asyncDispose]();
    const journal = join(directory, "damselfly/content/111", `${idOf(1)}.journal`);
    const bytes = await readFile(journal);
    bytes.writeUInt32BE(9, 8);
    const { crc32 } = await import("node:zlib");
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 12)), 12);
    await writeFile(journal, bytes);
    storage = await openStorage({ directory, clock: { now: () => nowMs } });
    open({ quotaBytes: 250_000, lowPercent: 1 });
    await taskOf(2);
    await gc.collect();
    await gc.collect();
    expect(await here()).toEqual([1]);
    expect(log.filter((line) => line.includes("cannot be evicted"))).toEqual([
      expect.stringContaining("newer version"),
    ]);
    expect(await gc.preview()).toMatchObject({ evictions: [] });
  });

  it("makes room for a task that needs it, and says when there is none to be had", async () => {
    open();
    await taskOf(1);
    await taskOf(2);
    expect(await gc.makeRoom({ bytes: 1000, of: "disk" })).toBe(true);
    expect(await here()).toEqual([2]);
    await storage.pinTask(idOf(2), true);
    expect(await gc.makeRoom({ bytes: 1000, of: "disk" })).toBe(false);
  });

  it("waits a moment for what is in use, for a task that needs room", async () => {
    const release = (await taskOf(1)).retain();
    open({}, { observer: { evicted: () => undefined, looked: () => queueMicrotask(release) } });
    expect(await gc.makeRoom({ bytes: 1000, of: "disk" })).toBe(true);
    expect(await here()).toEqual([]);
  });

  it("has a storage with a quota take what fits, whatever has to go for it", async () => {
    await storage[Symbol.asyncDispose]();
    storage = await openStorage({
      directory,
      clock: { now: () => nowMs },
      quotaBytes: 250_000,
      makeRoom: (lack) => gc.makeRoom(lack),
    });
    open({ quotaBytes: 250_000, highPercent: 99, lowPercent: 99 });
    for (const number of [1, 2, 3, 4]) await taskOf(number);
    expect(await here()).toEqual([3, 4]);
    await storage.pinTask(idOf(3), true);
    await storage.pinTask(idOf(4), true);
    await expect(taskOf(5)).rejects.toMatchObject({ code: "ERR_NO_SPACE" });
    await storage.pinTask(idOf(3), false);
    await taskOf(5);
    expect(await here()).toEqual([4, 5]);
  });

  it("shows what it would do, and does nothing", async () => {
    open({ quotaBytes: 100_000 });
    await taskOf(1);
    await taskOf(2);
    const { evictions } = await gc.preview();
    expect(evictions.map(({ taskId }) => taskId)).toEqual([idOf(1), idOf(2)]);
    expect(await here()).toEqual([1, 2]);
    expect((await gc.collect()).evicted).toEqual(evictions);
  });

  it("minds no scheduler that has forgotten the task, or does not answer", async () => {
    open({ quotaBytes: 10_000 });
    refusal = status("NOT_FOUND", "task not found");
    await taskOf(1);
    await gc.collect();
    refusal = status("UNAVAILABLE", "no connection");
    await taskOf(2);
    await gc.collect();
    await gc[Symbol.asyncDispose]();
    expect(told).toEqual([idOf(1), idOf(2)]);
    expect(log.filter((line) => line.startsWith("warn"))).toEqual([]);
    expect(log.filter((line) => line.startsWith("debug"))).toHaveLength(1);
  });

  it("goes on when it cannot be seen what is there", async () => {
    open({}, { intervalMs: 1 });
    await rm(join(directory, "damselfly/content"), { recursive: true });
    await writeFile(join(directory, "damselfly/content"), "in the way");
    await expect(gc.collect()).resolves.toMatchObject({ evicted: [] });
    expect(await gc.makeRoom({ bytes: 1, of: "disk" })).toBe(false);
    await rm(join(directory, "damselfly/content"));
    await taskOf(1);
    expect(await here()).toEqual([1]);
  });
});
