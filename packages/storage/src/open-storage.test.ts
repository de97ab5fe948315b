import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  factsOf,
  fill,
  overwrite,
  PIECE_LENGTH,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { openStorage } from "./open-storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const run = promisify(execFile);
let fixture: StorageFixture;

beforeEach(async () => {
  fixture = await createFixture();
});

afterEach(async () => {
  await fixture.remove();
});

describe("openStorage", () => {
  it("touches nothing but its own directory", async () => {
    await writeFile(fixture.path("dragonfly.db"), "theirs");
    await fixture.open({ keep: false });
    expect((await readdir(fixture.directory)).toSorted()).toEqual(["damselfly", "dragonfly.db"]);
  });

  it("keeps others out of it: journals may hold tokens", async () => {
    await fixture.open();
    expect((await stat(fixture.path("damselfly"))).mode & 0o077).toBe(0);
  });

  it("is for one at a time", async () => {
    await fixture.open();
    await expect(openStorage({ directory: fixture.directory })).rejects.toMatchObject({
      code: "ERR_STORAGE_LOCKED",
    });
    await fixture.reopen();
  });

  it("leaves a directory of another format as it is", async () => {
    await fixture.open();
    await fixture.close();
    await writeFile(fixture.path("damselfly/format"), "damselfly-storage 2\n");
    await writeFile(fixture.path("damselfly/content/new"), "");
    await expect(fixture.open({ keep: false })).rejects.toMatchObject({
      code: "ERR_STORAGE_VERSION",
      message: expect.stringContaining("damselfly-storage 2"),
    });
    expect(await readdir(fixture.path("damselfly/content"))).toEqual(["new"]);
  });

  it("opens after a power failure that left an empty format file", async () => {
    await mkdir(fixture.path("damselfly"));
    await writeFile(fixture.path("damselfly/format"), "");
    await fixture.open();
  });

  it("says in one line what there is, and what it removed", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    await writeFile(fixture.contentPath("c".repeat(64)).replace(/ccc\/c/, "aba/c"), "of no prefix");
    await writeFile(`${fixture.contentPath()}.new`, "half");
    await writeFile(fixture.contentPath("aba".padEnd(64, "0")), "an orphan");
    fixture.infos.length = 0;
    await fixture.open();
    expect(fixture.infos).toEqual([
      "storage opened: tasks on disk: 1; removed: 1 x half-made file, 1 x content without a journal",
    ]);
  });

  it("is kept from nothing by what cannot be removed", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    // A directory, where there should be a file.
    await mkdir(`${fixture.contentPath()}.new/inner`, { recursive: true });
    await mkdir(fixture.path("damselfly/outputs/0123"));
    await mkdir(fixture.path("damselfly/spool/0123"));
    const storage = await fixture.open();
    expect((await storage.openTask(TASK_ID))?.sealed).toBe(true);
    expect(await readdir(fixture.path("damselfly/outputs"))).toEqual([]);
    expect(await readdir(fixture.path("damselfly/spool"))).toEqual([]);
  });

  it("says what is in the way", async () => {
    await writeFile(fixture.path("damselfly"), "a file");
    await expect(fixture.open()).rejects.toMatchObject({ code: "ERR_IO" });
  });

  it("forgets everything on demand", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.reopen({ keep: false });
    expect(await fixture.storage.listTasks()).toEqual([]);
    expect(await readdir(fixture.path("damselfly/content"))).toEqual([]);
  });

  it("sweeps what a dead process left half-made", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    const orphan = fixture.contentPath("c".repeat(64));
    await mkdir(join(orphan, ".."));
    await writeFile(orphan, "content without a journal");
    await writeFile(`${fixture.contentPath()}.new`, "half");
    await writeFile(`${fixture.journalPath()}.new`, "half");
    await writeFile(fixture.path("damselfly/spool/0123"), "half");
    const temporary = fixture.path(".out.0123456789abcdef.damselfly-tmp");
    await writeFile(temporary, "half");
    await writeFile(fixture.path("damselfly/outputs/0123456789abcdef"), temporary);
    await writeFile(fixture.path("precious"), "mine");
    await writeFile(fixture.path("damselfly/outputs/fedcba"), fixture.path("precious"));

    await fixture.open();
    expect((await readdir(fixture.directory)).toSorted()).toEqual(["damselfly", "precious"]);
    expect(await readdir(fixture.path("damselfly/outputs"))).toEqual([]);
    expect(await readdir(fixture.path("damselfly/spool"))).toEqual([]);
    expect(await readdir(join(orphan, ".."))).toEqual([]);
    expect((await readdir(join(fixture.contentPath(), ".."))).toSorted()).toEqual([
      TASK_ID,
      `${TASK_ID}.journal`,
    ]);
  });
});

describe("a task, after a restart", () => {
  it("is there as it was, and is not checked when nothing has changed", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    const journal = await readFile(fixture.journalPath());

    const storage = await fixture.open();
    const [listed] = await storage.listTasks();
    const task = await storage.openTask(TASK_ID);
    expect(task).toBe(listed);
    expect(task).toMatchObject({ sealed: true, complete: true, facts: factsOf(CONTENT) });
    // A check would have written a new fingerprint.
    expect(await readFile(fixture.journalPath())).toEqual(journal);
    expect(task && (await collect(task.read()))).toEqual(CONTENT);
  });

  it("needs no check after an orderly stop, though it is unfinished", async () => {
    await fixture.open();
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await writePieceOf(task, 1, CONTENT);
    await fixture.close();
    const journal = await readFile(fixture.journalPath());
    const reopened = await (await fixture.open()).openTask(TASK_ID);
    expect([...(reopened?.pieces.keys() ?? [])]).toEqual([1]);
    expect(await readFile(fixture.journalPath())).toEqual(journal);
  });

  it("was unfinished when the process died: good pieces stay, bad ones are dropped", async () => {
    await fixture.open();
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await fill(task, CONTENT);
    await crash();
    await overwrite(fixture.contentPath(), 2500);

    const reopened = await (await fixture.open()).openTask(TASK_ID);
    expect([...(reopened?.pieces.keys() ?? [])]).toEqual([0, 1, 3]);
    expect(fixture.warnings).toHaveLength(1);
  });

  it("is served only after that check", async () => {
    await fixture.open();
    await fill(await fixture.storage.createTask(factsOf(CONTENT)), CONTENT);
    await crash();
    await overwrite(fixture.contentPath(), 0);
    const storage = await fixture.open();
    const opening = storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 });
    await expect(opening).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
    const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 1 });
    expect(await collect(reader.content)).toEqual(CONTENT.subarray(1000, 2000));
  });

  it.each([
    ["is gone", (path: string) => unlink(path)],
    ["is a directory", (path: string) => unlink(path).then(() => mkdir(path))],
    ["is a symbolic link", (path: string) => unlink(path).then(() => symlink("/etc/hosts", path))],
    ["is a pipe", (path: string) => unlink(path).then(() => run("mkfifo", [path]))],
    ["is cut short", (path: string) => truncate(path, 0)],
  ])("whose content file %s lacks its pieces", async (name, damage) => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    await damage(fixture.contentPath());
    const task = await (await fixture.open()).openTask(TASK_ID);
    expect(task?.pieces.size).toBe(0);
    if (task === undefined) throw new Error(`a task whose content ${name} is gone`);
    await fill(task, CONTENT);
    await task.seal();
    expect(await collect(task.read())).toEqual(CONTENT);
  });

  it("whose content file is a directory can be deleted, and so can what was in its place", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    await unlink(fixture.contentPath());
    await mkdir(join(fixture.contentPath(), "inner"), { recursive: true });
    const storage = await fixture.open();
    expect(await storage.deleteTask(TASK_ID)).toBe(true);
    const setAside = `${TASK_ID}.journal.damaged-1`;
    expect(await readdir(join(fixture.contentPath(), ".."))).toEqual([setAside]);
    await fixture.reopen({ clock: { now: () => Date.now() + 31 * 86_400_000 } });
    expect(await readdir(join(fixture.contentPath(), ".."))).toEqual([]);
  });

  it("whose content file is another with the same bytes is whole", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    await copyFile(fixture.contentPath(), fixture.path("copy"));
    await rename(fixture.path("copy"), fixture.contentPath());
    expect((await (await fixture.open()).openTask(TASK_ID))?.complete).toBe(true);
  });

  it("of an empty file is whole though its content file is gone, as nobody would fetch it", async () => {
    await fixture.open();
    const nothing = new Uint8Array(0);
    await (await fixture.storage.createTask(factsOf(nothing))).seal();
    await fixture.close();
    await unlink(fixture.contentPath());
    const task = await (await fixture.open()).openTask(TASK_ID);
    expect(await collect(task!.read())).toHaveLength(0);
    await task!.output(fixture.path("out"));
    expect((await stat(fixture.path("out"))).size).toBe(0);
  });

  it("with a journal torn at any byte keeps a part of its pieces, all of them right", async () => {
    await fixture.open();
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await fill(task, CONTENT);
    await crash();
    const journal = await readFile(fixture.journalPath());
    const content = await readFile(fixture.contentPath());

    await fc.assert(
      fc.asyncProperty(fc.nat(journal.byteLength), async (length) => {
        await writeFile(fixture.contentPath(), content);
        await writeFile(fixture.journalPath(), journal.subarray(0, length));
        const reopened = await (await fixture.open()).openTask(TASK_ID);
        for (const piece of reopened?.pieces.values() ?? []) {
          const bytes = reopened && (await collect(reopened.read(piece)));
          expect(bytes).toEqual(CONTENT.subarray(piece.offset, piece.offset + piece.length));
        }
        if (reopened === undefined) expect(length).toBeLessThan(700);
        else {
          // What is torn is in nobody's way.
          await fill(reopened, CONTENT);
          await fixture.close();
          expect((await (await fixture.open()).openTask(TASK_ID))?.complete).toBe(true);
        }
        await fixture.storage.deleteTask(TASK_ID);
        await fixture.close();
      }),
      { numRuns: 25 },
    );
  });

  it("writes over a torn tail that is longer than what comes next", async () => {
    await fixture.open();
    const responseHeader = { "x-long": "l".repeat(4000) };
    await fixture.storage.createTask(factsOf(CONTENT));
    await fixture.storage.createTask(factsOf(CONTENT, { responseHeader }));
    await fixture.close();
    await truncate(fixture.journalPath(), (await stat(fixture.journalPath())).size - 100);

    await fixture.open();
    const task = await fixture.storage.openTask(TASK_ID);
    if (task !== undefined) await writePieceOf(task, 0, CONTENT);
    await fixture.reopen();
    expect((await fixture.storage.openTask(TASK_ID))?.pieces.size).toBe(1);
    expect(fixture.warnings).toEqual([]);
  });

  it("with a damaged journal keeps the pieces around the damage and sets the journal aside", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    const journal = await readFile(fixture.journalPath());
    const third = journal.indexOf('"number":2');
    await overwrite(fixture.journalPath(), third);
    const damaged = await readFile(fixture.journalPath());

    const task = await (await fixture.open()).openTask(TASK_ID);
    expect([...(task?.pieces.keys() ?? [])]).toEqual([0, 1, 3]);
    expect(task?.sealed).toBe(false);
    expect(await readFile(`${fixture.journalPath()}.damaged-1`)).toEqual(damaged);
    expect(fixture.warnings).toContain("journal is damaged: set aside");
    await fixture.reopen();
    expect((await fixture.storage.openTask(TASK_ID))?.pieces.size).toBe(3);
  });

  it("with a journal that says nothing is gone, and the others are not", async () => {
    await fixture.open();
    await sealedTask();
    const otherId = "0".repeat(64);
    await fixture.storage.createTask(factsOf(CONTENT, { taskId: otherId }));
    for (let count = 1; count <= 2; count++) {
      await fixture.close();
      await writeFile(fixture.journalPath(), "this is no journal");
      await fixture.open();
      expect(await fixture.storage.openTask(TASK_ID)).toBeUndefined();
      expect(await readFile(`${fixture.journalPath()}.damaged-${count}`, "utf8")).toBe(
        "this is no journal",
      );
      await fixture.storage.createTask(factsOf(CONTENT));
    }
    expect(await fixture.storage.openTask(otherId)).toBeDefined();
  });

  it("keeps the last two damaged journals of it, for a month", async () => {
    await fixture.open();
    for (let count = 1; count <= 4; count++) {
      await sealedTask();
      await fixture.close();
      await writeFile(fixture.journalPath(), `this is no journal, for the ${count}. time`);
      await fixture.open();
      expect(await fixture.storage.openTask(TASK_ID)).toBeUndefined();
    }
    const directory = join(fixture.contentPath(), "..");
    expect((await readdir(directory)).toSorted()).toEqual([
      `${TASK_ID}.journal.damaged-3`,
      `${TASK_ID}.journal.damaged-4`,
    ]);
    const soon = Date.now() + 29 * 86_400_000;
    await fixture.reopen({ clock: { now: () => soon } });
    expect(await readdir(directory)).toHaveLength(2);
    await fixture.reopen({ clock: { now: () => soon + 2 * 86_400_000 } });
    expect(await readdir(directory)).toEqual([]);
    expect(fixture.infos.at(-1)).toContain("removed: 2 x old damaged journal");
  });

  it.each([
    ["a directory", (path: string) => mkdir(path)],
    ["a symbolic link", (path: string) => symlink("/etc/hosts", path)],
    ["a pipe", (path: string) => run("mkfifo", [path])],
  ])("whose journal is %s is gone, and what it is is set aside", async (_name, create) => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    await unlink(fixture.journalPath());
    await create(fixture.journalPath());
    const storage = await fixture.open();
    expect(await storage.openTask(TASK_ID)).toBeUndefined();
    await sealedTask();
    expect((await readdir(join(fixture.contentPath(), ".."))).toSorted()).toEqual([
      TASK_ID,
      `${TASK_ID}.journal`,
      `${TASK_ID}.journal.damaged-1`,
    ]);
  });

  it("with the journal of another task is gone", async () => {
    await fixture.open();
    await sealedTask();
    const otherId = "0".repeat(64);
    await fixture.storage.createTask(factsOf(CONTENT, { taskId: otherId }));
    await fixture.close();
    await copyFile(fixture.journalPath(), fixture.journalPath(otherId));
    expect(await (await fixture.open()).openTask(otherId)).toBeUndefined();
  });

  it("with a journal of a newer version is refused and left as it is", async () => {
    await fixture.open();
    await sealedTask();
    await fixture.close();
    const { crc32 } = await import("node:zlib");
    const journal = await readFile(fixture.journalPath());
    journal.writeUInt32BE(2, 8);
    journal.writeUInt32BE(crc32(journal.subarray(0, 12)), 12);
    await writeFile(fixture.journalPath(), journal);

    const storage = await fixture.open();
    const refused = { code: "ERR_STORAGE_VERSION" };
    await expect(storage.openTask(TASK_ID)).rejects.toMatchObject(refused);
    await expect(storage.createTask(factsOf(CONTENT))).rejects.toMatchObject(refused);
    await expect(storage.deleteTask(TASK_ID)).rejects.toMatchObject(refused);
    await expect(storage.openPiece({ taskId: TASK_ID, pieceNumber: 0 })).rejects.toMatchObject({
      code: "ERR_PARENT_FAILED",
    });
    expect(await storage.listTasks()).toEqual([]);
    expect(await readFile(fixture.journalPath())).toEqual(journal);
    expect(Uint8Array.from(await readFile(fixture.contentPath()))).toEqual(CONTENT);
  });

  it("has its journal written anew when years of links have made it long", async () => {
    await fixture.open();
    const task = await fixture.storage.createTask(factsOf(contentOf(10)));
    await fill(task, contentOf(10));
    let size = 0;
    let count = 0;
    // As long as it may get: with one record more it would be written anew at once.
    for (; size <= 64 * 1024 + 600; count++) {
      const responseHeader = { "x-run": "r".repeat(2000) + String(count) };
      await fixture.storage.createTask({ ...task.facts, responseHeader });
      ({ size } = await stat(fixture.journalPath()));
    }
    await fixture.reopen();
    const reopened = await fixture.storage.openTask(TASK_ID);
    expect(reopened?.facts.responseHeader["x-run"]).toMatch(new RegExp(`r${count - 1}$`));
    expect(reopened?.complete).toBe(true);
    expect((await stat(fixture.journalPath())).size).toBeLessThan(size / 10);
  });
});

async function sealedTask(): Promise<void> {
  const task = await fixture.storage.createTask(factsOf(CONTENT));
  await fill(task, CONTENT);
  await task.seal();
}

/** The files as they would be had the process died now. */
async function crash(): Promise<void> {
  const content = await readFile(fixture.contentPath());
  const journal = await readFile(fixture.journalPath());
  await fixture.close();
  await rm(fixture.contentPath());
  await writeFile(fixture.contentPath(), content);
  await writeFile(fixture.journalPath(), journal);
}
