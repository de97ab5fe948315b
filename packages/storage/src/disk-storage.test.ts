import { readdir, readFile, stat, statfs } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  DRAFT,
  factsOf,
  fill,
  Gate,
  inChunks,
  PIECE_LENGTH,
  pieceOf,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import type { StorageOptions } from "./open-storage.ts";
import type { Storage, StoredTask, TaskFacts } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
let fixture: StorageFixture;
let storage: Storage;

beforeEach(async () => {
  fixture = await createFixture();
  storage = await fixture.open();
});

afterEach(async () => {
  await fixture.remove();
});

describe("createTask", () => {
  it("gives the same task to all who ask for the same content", async () => {
    const [first, second] = await Promise.all([
      storage.createTask(factsOf(CONTENT)),
      storage.createTask(factsOf(CONTENT)),
    ]);
    expect(second).toBe(first);
    expect(await storage.openTask(TASK_ID)).toBe(first);
  });

  it("takes over the facts of the last asker, but for the time of creation", async () => {
    await storage.createTask(factsOf(CONTENT));
    const later = factsOf(CONTENT, { url: "http://origin.invalid/?token=new", createdAtMs: 99 });
    const task = await storage.createTask(later);
    expect(task.facts).toEqual({ ...later, createdAtMs: 1 });
    await fixture.reopen();
    expect((await fixture.storage.openTask(TASK_ID))?.facts).toEqual({ ...later, createdAtMs: 1 });
  });

  it("drops what is here of the same content where it may not be kept, but for its pin", async () => {
    const old = await storage.createTask(factsOf(CONTENT));
    await fill(old, CONTENT);
    await storage.pinTask(TASK_ID, true);
    const asked: unknown[] = [];
    const task = await storage.createTask(factsOf(CONTENT, { createdAtMs: 99 }), {
      mayKeep: (copy) => asked.push(copy) > 1,
    });
    expect(asked).toEqual([old]);
    expect(task).not.toBe(old);
    expect(task.pieces.size).toBe(0);
    expect(task.facts.createdAtMs).toBe(99);
    await expect(writePieceOf(old, 0, CONTENT)).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    expect(await storage.evictTask(TASK_ID)).toBe("pinned");
    expect(await storage.createTask(factsOf(CONTENT), { mayKeep: () => true })).toBe(task);
  });

  it("takes over any number of them, and the journal stays short", async () => {
    const done = await storage.createTask(factsOf(CONTENT));
    await fill(done, CONTENT);
    await done.seal();
    const factsAt = (count: number): TaskFacts =>
      factsOf(CONTENT, { responseHeader: { date: `${count}`, "x-filler": "f".repeat(1000) } });
    let longest = 0;
    for (let count = 1; count <= 1000; count++) {
      expect(await storage.createTask(factsAt(count))).toBe(done);
      longest = Math.max(longest, (await stat(fixture.journalPath())).size);
    }
    expect(longest).toBeLessThan(100_000);
    expect(fixture.warnings).toEqual([]);
    expect(done.sealed).toBe(true);

    await fixture.reopen();
    const task = await fixture.storage.openTask(TASK_ID);
    expect(task?.facts).toEqual(factsAt(1000));
    expect(task?.sealed).toBe(true);
    // Sealed as it was then: nothing had to be looked at.
    expect(fixture.infos.filter((info) => info.includes("every piece"))).toEqual([]);
  });

  it.each([
    ["another version", { contentVersion: "v2" }],
    ["another length", { contentLength: 2000 }],
    ["another piece length", { pieceLength: 500 }],
  ])("drops the bytes of %s", async (_name, changes) => {
    const old = await storage.createTask(factsOf(CONTENT));
    await fill(old, CONTENT);
    await old.output(fixture.path("out"), { forceHardLink: true });
    const task = await storage.createTask(factsOf(CONTENT, changes));
    expect(task.pieces.size).toBe(0);
    await expect(old.seal()).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    expect(Uint8Array.from(await readFile(fixture.path("out")))).toEqual(CONTENT);
  });

  it.each([
    "",
    "A".repeat(64),
    "0".repeat(63),
    `${"0".repeat(64)}\n`,
    "../".repeat(22).slice(0, 64),
  ])("refuses task id %j", async (taskId) => {
    const refused = expect.objectContaining({ code: "ERR_TASK_ID" });
    await expect(storage.createTask(factsOf(CONTENT, { taskId }))).rejects.toEqual(refused);
    await expect(storage.openTask(taskId)).rejects.toEqual(refused);
    await expect(storage.deleteTask(taskId)).rejects.toEqual(refused);
  });

  it.each([
    { contentLength: -1 },
    { contentLength: 2 ** 60 },
    { contentLength: 1.5 },
    { pieceLength: 0 },
  ])("refuses %j", async (changes) => {
    await expect(storage.createTask(factsOf(CONTENT, changes))).rejects.toThrow(RangeError);
  });

  it("lets nobody see the version that is being replaced", async () => {
    const old = await storage.createTask(factsOf(CONTENT));
    await fill(old, CONTENT);
    const creating = storage.createTask(factsOf(CONTENT, { contentVersion: "v2" }));
    const outcomes: Promise<unknown>[] = [];
    let created: StoredTask | undefined;
    while (created === undefined) {
      outcomes.push(storage.openTask(TASK_ID));
      created = await Promise.race([creating, setImmediate(undefined)]);
    }
    expect(await storage.openTask(TASK_ID)).toBe(created);
    const opened = await Promise.all(outcomes);
    const possible = new Set<unknown>([old, undefined, created]);
    expect(opened.filter((task) => !possible.has(task))).toEqual([]);
  });

  it("refuses what the disk cannot hold, and leaves nothing", async () => {
    const facts = factsOf(CONTENT, { contentLength: 2 ** 52, pieceLength: 2 ** 26 });
    await expect(storage.createTask(facts)).rejects.toMatchObject({ code: "ERR_NO_SPACE" });
    expect(await storage.listTasks()).toEqual([]);
    expect(await storage.openTask(TASK_ID)).toBeUndefined();
  });

  it("counts what tasks that are being fetched will need", async () => {
    const { bavail, bsize } = await statfs(fixture.directory);
    const contentLength = Math.floor(bavail * bsize * 0.6);
    const large = { contentLength, pieceLength: 2 ** 26 };
    const first = await storage.createTask(factsOf(CONTENT, large));
    const release = first.retain();
    const second = factsOf(CONTENT, { ...large, taskId: "0".repeat(64) });
    await expect(storage.createTask(second)).rejects.toMatchObject({ code: "ERR_NO_SPACE" });
    release();
    release();
    await storage.createTask(second);
  });
});

describe("createTask of a task that is to be gone on with", () => {
  const LARGE = contentOf(20 * 4096);
  const facts = (taskId: string): ReturnType<typeof factsOf> =>
    factsOf(LARGE, { taskId, pieceLength: 4096 });
  const OTHER_ID = "0".repeat(64);
  let nowMs: number;

  async function openSmall(options: Partial<StorageOptions> = {}): Promise<Storage> {
    await fixture.close();
    nowMs = Date.now();
    return await fixture.open({
      fileSystem: new MemoryDisk(),
      clock: { now: () => nowMs },
      quotaBytes: 30 * 4096,
      ...options,
    });
  }

  it("needs room for what is missing of it", async () => {
    storage = await openSmall();
    const begun = await storage.createTask(facts(TASK_ID));
    await writePieceOf(begun, 0, LARGE);
    nowMs += 60_000;
    // Nobody fetches the first one by now.
    const release = (await storage.createTask(facts(OTHER_ID))).retain();
    await expect(storage.createTask(facts(TASK_ID))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
      message: expect.stringContaining(`go on with task ${TASK_ID}: it needs ${19 * 4096} bytes`),
    });
    release();
    await storage.deleteTask(OTHER_ID);
    expect(await storage.createTask(facts(TASK_ID))).toBe(begun);
    // It is as good as taken.
    expect((await storage.usage()).reservedBytes).toBe(19 * 4096);
    await expect(storage.createTask(facts(OTHER_ID))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
  });

  it("does so also while somebody is handed the part that is there", async () => {
    storage = await openSmall();
    const begun = await storage.createTask(facts(TASK_ID));
    await writePieceOf(begun, 0, LARGE);
    nowMs += 60_000;
    (await storage.createTask(facts(OTHER_ID))).retain();
    begun.retain();
    await expect(storage.createTask(facts(TASK_ID))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
  });

  it("needs none for a piece that is written where its bytes lie, nor for one that is there", async () => {
    storage = await openSmall({ quotaBytes: 22 * 4096 });
    const task = await storage.createTask(facts(TASK_ID));
    await fill(task, LARGE);
    nowMs += 60_000;
    expect(await storage.createTask(facts(TASK_ID))).toBe(task);
    await task.deny([task.pieces.get(3)!, task.pieces.get(4)!, task.pieces.get(5)!]);
    expect(await storage.createTask(facts(TASK_ID))).toBe(task);
    await fill(task, LARGE);
    expect(await collect(task.read())).toEqual(LARGE);
  });

  it("does not lose what is there of it to its own need of room", async () => {
    const outcomes: string[] = [];
    storage = await openSmall({
      makeRoom: async () => {
        outcomes.push(await storage.evictTask(TASK_ID));
        return false;
      },
    });
    const begun = await storage.createTask(facts(TASK_ID));
    await writePieceOf(begun, 0, LARGE);
    nowMs += 60_000;
    (await storage.createTask(facts(OTHER_ID))).retain();
    await expect(storage.createTask(facts(TASK_ID))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
    expect(outcomes).toEqual(["busy"]);
    expect(begun.pieces.size).toBe(1);
  });
});

describe("deleteTask", () => {
  it("removes the files but not the outputs", async () => {
    const task = await storage.createTask(factsOf(CONTENT));
    await fill(task, CONTENT);
    await task.output(fixture.path("out"));
    expect(await storage.deleteTask(TASK_ID)).toBe(true);
    expect(await storage.deleteTask(TASK_ID)).toBe(false);
    expect(await readdir(fixture.path("damselfly/content/aba"))).toEqual([]);
    expect(Uint8Array.from(await readFile(fixture.path("out")))).toEqual(CONTENT);
    await expect(storage.openTask(TASK_ID)).resolves.toBeUndefined();
    await expect(writePieceOf(task, 0, CONTENT)).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    await expect(collect(task.read())).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    await expect(task.output(fixture.path("other"))).rejects.toMatchObject({
      code: "ERR_TASK_GONE",
    });
  });

  it("interrupts a writer whose source says nothing, and those who wait for it", async () => {
    const task = await storage.createTask(factsOf(CONTENT));
    const gate = new Gate();
    const piece = pieceOf(task, 0, CONTENT);
    const outcomes = Promise.allSettled([
      task.writePiece({ ...DRAFT, number: 0 }, gate.stream(piece)),
      task.writePiece({ ...DRAFT, number: 0 }, inChunks(piece)),
      storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 }),
    ]);
    await Promise.resolve();
    await storage.deleteTask(TASK_ID);
    expect((await outcomes).map((outcome) => outcome.status)).toEqual(
      Array.from({ length: 3 }, () => "rejected"),
    );
    gate.open();
  });

  it("lets a task be created anew", async () => {
    await fill(await storage.createTask(factsOf(CONTENT)), CONTENT);
    await storage.deleteTask(TASK_ID);
    const task = await storage.createTask(factsOf(CONTENT));
    expect(task.pieces.size).toBe(0);
    await fill(task, CONTENT);
    expect(await collect(task.read())).toEqual(CONTENT);
  });
});

describe("spool", () => {
  it("keeps content until it is disposed, and reads any part of it", async () => {
    const spool = await storage.spool(inChunks(CONTENT));
    expect(spool.length).toBe(CONTENT.length);
    const range = { offset: 250, length: 1000 };
    expect(await collect(spool.read(range))).toEqual(CONTENT.subarray(250, 1250));
    await expect(collect(spool.read({ offset: 3000, length: 18 }))).rejects.toThrow(RangeError);
    await spool[Symbol.asyncDispose]();
    await spool[Symbol.asyncDispose]();
    expect(await readdir(fixture.path("damselfly/spool"))).toEqual([]);
    await expect(collect(spool.read(range))).rejects.toMatchObject({ code: "ERR_IO" });
  });

  it("leaves nothing of content that breaks off", async () => {
    const gate = new Gate();
    gate.open();
    const reason = new Error("origin hung up");
    await expect(storage.spool(gate.stream(CONTENT, reason))).rejects.toBe(reason);
    expect(await readdir(fixture.path("damselfly/spool"))).toEqual([]);
  });
});

describe("spool without room", () => {
  const QUOTA = 100_000;
  let disk: MemoryDisk;
  let pulledLength: number;

  async function openSmall(options: Partial<StorageOptions> = {}): Promise<void> {
    await fixture.close();
    disk = new MemoryDisk();
    storage = await fixture.open({ fileSystem: disk, quotaBytes: QUOTA, ...options });
  }

  async function* endless(): AsyncGenerator<Uint8Array> {
    for (pulledLength = 0; ;) {
      pulledLength += 1000;
      yield new Uint8Array(1000);
    }
  }

  const full = {
    code: "ERR_NO_SPACE",
    message: expect.stringContaining(`the quota of ${QUOTA} bytes has`),
  };

  async function expectNothingLeft(): Promise<void> {
    const spooled = [...disk.list().keys()].filter((path) => path.includes("/spool/"));
    expect(spooled).toEqual([]);
    expect(await storage.usage()).toMatchObject({ bytes: 0, reservedBytes: 0 });
  }

  it("ends content that does not end, and leaves nothing of it", async () => {
    await openSmall();
    await expect(storage.spool(endless())).rejects.toMatchObject(full);
    expect(pulledLength).toBeGreaterThan(QUOTA / 3);
    expect(pulledLength).toBeLessThan(QUOTA);
    await expectNothingLeft();
  });

  it("ends that of a sender, too, also of one that says only in the end how much it was", async () => {
    await openSmall();
    const sending = storage.spool({
      async spoolTo(_path, { signal, onLength }) {
        for (let length = 0; !signal.aborted; length += 1000) {
          onLength(length);
          await setImmediate();
        }
        throw new Error("stopped");
      },
    });
    await expect(sending).rejects.toMatchObject(full);
    await expectNothingLeft();
    await expect(storage.spool({ spoolTo: async () => QUOTA + 1 })).rejects.toMatchObject(full);
    await expectNothingLeft();
    const told = storage.spool({
      async spoolTo(_path, { onLength }) {
        onLength(QUOTA + 1);
        return QUOTA + 1;
      },
    });
    await expect(told).rejects.toMatchObject(full);
    await expectNothingLeft();
  });

  it("leaves what is promised to others alone, on the disk as well", async () => {
    await openSmall({ quotaBytes: 0 });
    disk.capacity = QUOTA;
    const promised = { contentLength: 90_000, pieceLength: 90_000 };
    (await storage.createTask(factsOf(CONTENT, promised))).retain();
    await expect(storage.spool(endless())).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
      message: expect.stringContaining("90000 of them are promised to others"),
    });
  });

  it("counts as taken, and what comes next as promised, until it is over", async () => {
    await openSmall();
    const gate = new Gate();
    let length = 0;
    async function* slow(): AsyncGenerator<Uint8Array> {
      for (; length < 20_000; length += 1000) yield new Uint8Array(1000);
      await gate.opened;
    }
    const spooling = storage.spool(slow());
    await expect.poll(() => length).toBe(20_000);
    const { bytes, reservedBytes } = await storage.usage();
    expect(bytes).toBe(20_000);
    expect(reservedBytes).toBeGreaterThan(0);
    expect(reservedBytes).toBeLessThanOrEqual(20_000);
    gate.open();
    const spool = await spooling;
    expect(await storage.usage()).toMatchObject({ bytes: 20_000, reservedBytes: 0 });
    await spool[Symbol.asyncDispose]();
    await expectNothingLeft();
  });

  it("has others make way, and goes on", async () => {
    await openSmall({
      makeRoom: async () => (await storage.evictTask(TASK_ID)) === "evicted",
    });
    const old = contentOf(80_000);
    await fill(await storage.createTask(factsOf(old, { pieceLength: 80_000 })), old);
    const content = contentOf(40_000);
    const spool = await storage.spool(inChunks(content, 1000));
    expect(await collect(spool.read({ offset: 0, length: 40_000 }))).toEqual(content);
    expect(await storage.openTask(TASK_ID)).toBeUndefined();
    await spool[Symbol.asyncDispose]();
  });
});

describe("disposing", () => {
  it("ends everything that runs, keeps what is done, and lets the next one in", async () => {
    const task = await storage.createTask(factsOf(CONTENT));
    await writePieceOf(task, 1, CONTENT);
    const gate = new Gate();
    const outcomes = Promise.allSettled([
      task.writePiece({ ...DRAFT, number: 0 }, gate.stream(pieceOf(task, 0, CONTENT))),
      storage.spool(gate.stream(CONTENT)),
    ]);
    const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 1 });
    await storage[Symbol.asyncDispose]();
    await storage[Symbol.asyncDispose]();
    expect((await outcomes).map((outcome) => outcome.status)).toEqual(["rejected", "rejected"]);
    await expect(collect(reader.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
    await expect(storage.openTask(TASK_ID)).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    await expect(storage.openPiece({ taskId: TASK_ID, pieceNumber: 1 })).rejects.toMatchObject({
      code: "ERR_CLOSED",
    });

    await fixture.open();
    const reopened = await fixture.storage.openTask(TASK_ID);
    expect([...(reopened?.pieces.keys() ?? [])]).toEqual([1]);
    gate.open();
  });
});
