import { readdir, readFile, statfs } from "node:fs/promises";
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
import type { Storage, StoredTask } from "./storage.ts";

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
