import { execFile } from "node:child_process";
import { readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  factsOf,
  fill,
  PIECE_LENGTH,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { mountSmallDisk, type SmallDisk } from "../test-support/small-disk.ts";
import type { StoredTask, TaskFacts } from "./storage.ts";

const run = promisify(execFile);
const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const OTHER_ID = "0".repeat(64);
/** Longer than the disk has pages to spare for. */
const LARGE = contentOf(200_000);
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
let fixture: StorageFixture;
let disk: SmallDisk | undefined;
let elsewhere: string;

beforeAll(async () => {
  const tsc = fileURLToPath(new URL("../../../node_modules/.bin/tsc", import.meta.url));
  await run(tsc, ["-b", PACKAGE]);
}, 120_000);

beforeEach(async ({ skip }) => {
  fixture = await createFixture();
  elsewhere = await mkdtemp(join(tmpdir(), "damselfly-elsewhere-"));
  disk = await mountSmallDisk(fixture.directory, { bytes: 1 << 20 });
  skip(disk === undefined, "only root can mount a small disk");
});

afterEach(async () => {
  await disk?.writable().catch(() => undefined);
  await fixture.close();
  await disk?.unmount();
  await fixture.remove();
  await rm(elsewhere, { recursive: true });
});

describe("a full disk", () => {
  it("is an error for who needs more of it; the others go on, and so does he when there is some", async () => {
    const storage = await fixture.open();
    const done = await sealed();
    const large = await storage.createTask(
      factsOf(LARGE, { taskId: OTHER_ID, pieceLength: 50_000 }),
    );
    await fillDisk();

    const full = { code: "ERR_NO_SPACE", message: expect.stringContaining("no space left") };
    await expect(writePieceOf(large, 0, LARGE)).rejects.toMatchObject(full);
    const facts = factsOf(CONTENT, { taskId: "1".repeat(64) });
    await expect(storage.createTask(facts)).rejects.toMatchObject({ code: "ERR_NO_SPACE" });
    expect(await collect(done.read())).toEqual(CONTENT);
    const reader = await storage.openPiece({ taskId: TASK_ID, pieceNumber: 1 });
    expect(await collect(reader.content)).toEqual(CONTENT.subarray(1000, 2000));

    await unlink(fixture.path("filler"));
    await fill(large, LARGE);
    await large.seal();
    expect(await collect(large.read())).toEqual(LARGE);
    await fill(await storage.createTask(facts), CONTENT);
  });

  it("keeps nobody from starting, nor from deleting what takes the room", async () => {
    await fixture.open();
    await sealed();
    await fixture.close();
    await fillDisk();
    const storage = await fixture.open();
    const task = await storage.openTask(TASK_ID);
    expect(task?.sealed).toBe(true);
    expect(task && (await collect(task.read()))).toEqual(CONTENT);
    // What is not on this disk needs nothing of it.
    await task?.output(join(elsewhere, "out"));
    expect(Uint8Array.from(await readFile(join(elsewhere, "out")))).toEqual(CONTENT);
    expect(await storage.deleteTask(TASK_ID)).toBe(true);
  });

  it("gives what it has to who asks with other facts of the same content", async () => {
    const storage = await fixture.open();
    const done = await sealed();
    await fillDisk();
    const task = await storage.createTask(revalidated());
    expect(task).toBe(done);
    expect(task.facts).toEqual({ ...revalidated(), createdAtMs: 1 });
    expect(task.sealed).toBe(true);
    expect(await collect(task.read())).toEqual(CONTENT);
    expect(fixture.warnings).toEqual([expect.stringContaining("other facts")]);

    // What could not be written has not harmed what is there.
    const reopened = await fixture.reopen();
    expect((await reopened.openTask(TASK_ID))?.sealed).toBe(true);
  });

  it("leaves nothing of an output that does not fit", async () => {
    const storage = await fixture.open();
    const task = await storage.createTask(factsOf(LARGE, { pieceLength: 50_000 }));
    await fill(task, LARGE);
    await task.output(fixture.path("first"));
    await fillDisk();
    await expect(task.output(fixture.path("second"))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
    expect((await readdir(fixture.directory)).toSorted()).toEqual(["damselfly", "filler", "first"]);
  });
});

describe("a disk that turns read-only", () => {
  it("is an error for who writes; what is there is served, and all goes on when it is writable", async () => {
    const storage = await fixture.open();
    const done = await sealed();
    const other = await storage.createTask(factsOf(CONTENT, { taskId: OTHER_ID }));
    await fixture.reopen();
    await disk?.readOnly();

    const refused = { code: "ERR_READ_ONLY" };
    const again = await fixture.storage.openTask(OTHER_ID);
    await expect(again && writePieceOf(again, 0, CONTENT)).rejects.toMatchObject(refused);
    const facts = factsOf(CONTENT, { taskId: "1".repeat(64) });
    await expect(fixture.storage.createTask(facts)).rejects.toMatchObject(refused);
    const served = await fixture.storage.openTask(TASK_ID);
    expect(served && (await collect(served.read()))).toEqual(CONTENT);
    await served?.output(join(elsewhere, "out"));
    expect(Uint8Array.from(await readFile(join(elsewhere, "out")))).toEqual(CONTENT);

    await disk?.writable();
    await fill(await fixture.storage.createTask(facts), CONTENT);
    if (again !== undefined) await fill(again, CONTENT);
    expect(done.facts).toEqual(served?.facts);
    expect(other.facts).toEqual(again?.facts);
  });

  it("gives what it has to who asks with other facts of the same content", async () => {
    await fixture.open();
    await sealed();
    const storage = await fixture.reopen();
    await disk?.readOnly();
    const task = await storage.createTask(revalidated());
    expect(task.facts).toEqual({ ...revalidated(), createdAtMs: 1 });
    expect(task.sealed).toBe(true);
    expect(await collect(task.read())).toEqual(CONTENT);
    await disk?.writable();
  });

  it("is the reason that a storage does not open", async () => {
    await fixture.open();
    await fixture.close();
    await disk?.readOnly();
    await expect(fixture.open()).rejects.toMatchObject({ code: "ERR_READ_ONLY" });
    await disk?.writable();
    await fixture.open();
  });
});

describe("a process without descriptors", () => {
  it("tells the tasks that need one, and goes on when there are some", async () => {
    const script = join(PACKAGE, "test-support/run-out-of-files.mjs");
    const { stdout } = await run("prlimit", [
      "--nofile=64:64",
      process.execPath,
      script,
      elsewhere,
    ]);
    expect(stdout).toBe("ERR_TOO_MANY_FILES ERR_TOO_MANY_FILES\ndone done\n");
  });
});

async function sealed(): Promise<StoredTask> {
  const task = await fixture.storage.createTask(factsOf(CONTENT));
  await fill(task, CONTENT);
  await task.seal();
  return task;
}

/** As an origin that is asked again describes what is here; longer than what is left of a page. */
function revalidated(): TaskFacts {
  const responseHeader = {
    date: "Tue, 01 Dec 2026 04:00:00 GMT",
    "x-request-id": "0".repeat(5000),
  };
  return factsOf(CONTENT, { responseHeader, createdAtMs: 2 });
}

/** To the last byte, and whatever was reserved. */
async function fillDisk(): Promise<void> {
  await expect(writeFile(fixture.path("filler"), Buffer.alloc(2 << 20))).rejects.toThrow("ENOSPC");
}
