import { mkdir, readFile, rename, rm, unlink } from "node:fs/promises";

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
import { mountSmallDisk } from "../test-support/small-disk.ts";
import { openStorage } from "./open-storage.ts";
import type { Storage, StoredTask } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const VANISHED = { code: "ERR_IO", message: expect.stringContaining("has vanished") };
let fixture: StorageFixture;
let storage: Storage;
let task: StoredTask;

beforeEach(async () => {
  fixture = await createFixture();
  storage = await fixture.open();
  task = await storage.createTask(factsOf(CONTENT));
  await writePieceOf(task, 0, CONTENT);
  await writePieceOf(task, 1, CONTENT);
});

afterEach(async () => {
  await fixture.remove();
});

describe("a storage whose directory has vanished", () => {
  const away = (): string => `${fixture.directory}-away`;

  afterEach(async () => {
    await rm(away(), { recursive: true, force: true });
  });

  it("says so to everybody, and goes on with what it has when it is back", async () => {
    const gate = new Gate();
    const writing = task.writePiece(
      { ...DRAFT, number: 2 },
      gate.stream(pieceOf(task, 2, CONTENT)),
    );
    const failing = expect(writing).rejects.toMatchObject(VANISHED);
    await rename(fixture.directory, away());
    const other = factsOf(CONTENT, { taskId: "0".repeat(64) });
    await expect(storage.createTask(other)).rejects.toMatchObject(VANISHED);
    await expect(storage.spool(inChunks(CONTENT))).rejects.toMatchObject(VANISHED);
    gate.open();
    await failing;
    await expect(storage.openTask(TASK_ID)).rejects.toMatchObject(VANISHED);
    await expect(collect(task.read({ offset: 0, length: 1 }))).rejects.toMatchObject(VANISHED);
    await expect(storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 })).rejects.toMatchObject({
      code: "ERR_PARENT_FAILED",
      message: VANISHED.message,
    });

    await rename(away(), fixture.directory);
    expect([...((await storage.openTask(TASK_ID))?.pieces.keys() ?? [])]).toEqual([0, 1]);
    await fill(task, CONTENT);
    await task.seal();
    await fill(await storage.createTask(other), CONTENT);
    await fixture.reopen();
    expect((await fixture.storage.openTask(TASK_ID))?.sealed).toBe(true);
  });

  it("does not begin anew where another disk shows", async ({ skip }) => {
    const disk = await mountSmallDisk(fixture.directory, { bytes: 1_000_000 });
    skip(disk === undefined, "only root can mount");
    try {
      const creating = storage.createTask(factsOf(CONTENT, { taskId: "0".repeat(64) }));
      await expect(creating).rejects.toMatchObject(VANISHED);
      await expect(storage.openTask(TASK_ID)).rejects.toMatchObject(VANISHED);
    } finally {
      await disk?.unmount();
    }
    expect((await storage.openTask(TASK_ID))?.pieces.size).toBe(2);
  });
});

describe("a storage whose directory was removed", () => {
  it.each(["damselfly", "damselfly/content", "damselfly/content/aba"])(
    "goes on without what was in it, if that was %s",
    async (name) => {
      await rm(fixture.path(name), { recursive: true });
      const spool = await storage.spool(inChunks(CONTENT));
      expect(await collect(spool.read({ offset: 0, length: 10 }))).toEqual(CONTENT.subarray(0, 10));
      await spool[Symbol.asyncDispose]();
      expect((await storage.openTask(TASK_ID))?.pieces.size).toBe(0);
      await fill(await storage.createTask(factsOf(CONTENT)), CONTENT);
      await task.output(fixture.path("out"));
      await task.seal();
      expect(Uint8Array.from(await readFile(fixture.path("out")))).toEqual(CONTENT);
      await fixture.reopen();
      expect((await fixture.storage.openTask(TASK_ID))?.sealed).toBe(true);
    },
  );

  it("says so, once", async () => {
    await rm(fixture.path("damselfly"), { recursive: true });
    const facts = ["0", "1", "2"].map((id) => factsOf(CONTENT, { taskId: id.repeat(64) }));
    await Promise.all(facts.map((each) => storage.createTask(each)));
    const said = fixture.warnings.filter((text) => text.includes("was removed"));
    expect(said).toHaveLength(1);
  });

  it("still keeps others out", async () => {
    await rm(fixture.path("damselfly"), { recursive: true });
    await storage.createTask(factsOf(CONTENT, { taskId: "0".repeat(64) }));
    await expect(openStorage({ directory: fixture.directory })).rejects.toMatchObject({
      code: "ERR_STORAGE_LOCKED",
    });
  });

  it("comes to life again in a directory made anew", async () => {
    await rm(fixture.directory, { recursive: true });
    await expect(storage.openTask(TASK_ID)).rejects.toMatchObject(VANISHED);
    await mkdir(fixture.directory);
    await fill(await storage.createTask(factsOf(CONTENT)), CONTENT);
    expect(await collect(task.read())).toEqual(CONTENT);
  });
});

describe("a task whose journal was removed", () => {
  it("has it written anew, with all that is known", async () => {
    await unlink(fixture.journalPath());
    await writePieceOf(task, 2, CONTENT);
    await fixture.reopen();
    const reopened = await fixture.storage.openTask(TASK_ID);
    expect([...(reopened?.pieces.keys() ?? [])]).toEqual([0, 1, 2]);
  });
});
