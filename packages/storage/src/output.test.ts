import { execFile } from "node:child_process";
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

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
import { MemoryDisk } from "../test-support/memory-disk.ts";
import { createDigester } from "./digester.ts";
import type { FileHandle } from "./file-system.ts";
import type { Storage, StoredTask } from "./storage.ts";
import { TaskOnDisk } from "./task-on-disk.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
let fixture: StorageFixture;
let storage: Storage;
let task: StoredTask;

beforeEach(async () => {
  fixture = await createFixture();
  storage = await fixture.open();
  task = await storage.createTask(factsOf(CONTENT));
  await fill(task, CONTENT);
});

afterEach(async () => {
  // Also after the failures: nothing half-made is left, in no directory.
  expect(await readdir(join(fixture.directory, "damselfly", "outputs"))).toEqual([]);
  expect((await readdir(fixture.directory)).filter((name) => name.includes("tmp"))).toEqual([]);
  await fixture.remove();
});

describe("output", () => {
  it("hard-links the first output and copies the second, where blocks cannot be shared", async () => {
    const first = await task.output(fixture.path("first"));
    const second = await task.output(fixture.path("second"));
    // "reflink" on a file system that has it.
    expect([
      ["hardlink", "copy"],
      ["reflink", "reflink"],
    ]).toContainEqual([first, second]);
    for (const name of ["first", "second"]) expect(await bytesAt(name)).toEqual(CONTENT);
    expect((await inode("second")) === (await inode("first"))).toBe(false);
  });

  it("has the mode of a file that the user makes", async () => {
    await writeFile(fixture.path("ordinary"), "");
    await task.output(fixture.path("first"));
    await task.output(fixture.path("second"));
    const modes = ["ordinary", "first", "second"].map(
      async (name) => (await stat(fixture.path(name))).mode,
    );
    expect(new Set(await Promise.all(modes)).size).toBe(1);
  });

  it("is there already when it is the same file", async () => {
    await link(fixture.contentPath(), fixture.path("out"));
    expect(await task.output(fixture.path("out"))).toBe("already-there");
    expect(await task.output(fixture.path("out"), { overwrite: true })).toBe("already-there");
    expect(await bytesAt("out")).toEqual(CONTENT);
  });

  it("leaves what exists, unless told to overwrite it", async () => {
    await writeFile(fixture.path("out"), "mine");
    await expect(task.output(fixture.path("out"))).rejects.toMatchObject({
      code: "ERR_OUTPUT_EXISTS",
    });
    expect(await readFile(fixture.path("out"), "utf8")).toBe("mine");
    await task.output(fixture.path("out"), { overwrite: true });
    expect(await bytesAt("out")).toEqual(CONTENT);
  });

  it("overwrites with a copy as well", async () => {
    await task.output(fixture.path("first"));
    await writeFile(fixture.path("out"), "mine");
    await task.output(fixture.path("out"), { overwrite: true });
    expect(await bytesAt("out")).toEqual(CONTENT);
  });

  it("replaces a symbolic link, not what it points to", async () => {
    await writeFile(fixture.path("precious"), "mine");
    await symlink(fixture.path("precious"), fixture.path("out"));
    await task.output(fixture.path("out"), { overwrite: true });
    expect(await bytesAt("out")).toEqual(CONTENT);
    expect(await readFile(fixture.path("precious"), "utf8")).toBe("mine");
  });

  it("never replaces a directory", async () => {
    await mkdir(fixture.path("out"));
    await expect(task.output(fixture.path("out"), { overwrite: true })).rejects.toMatchObject({
      code: "ERR_OUTPUT_EXISTS",
      message: expect.stringContaining("no regular file"),
    });
  });

  it("names a directory that is missing, a file in its place, and a path that is relative", async () => {
    for (const path of [
      fixture.path("missing/out"),
      fixture.contentPath() + "/out",
      "relative/out",
    ]) {
      await expect(task.output(path)).rejects.toMatchObject({
        code: "ERR_OUTPUT_DIRECTORY",
        message: expect.stringContaining(path.startsWith("/") ? fixture.directory : path),
      });
    }
  });

  it("gives each of eight askers at once its own complete file", async () => {
    const names = Array.from({ length: 8 }, (_, index) => `out-${index}`);
    const methods = await Promise.all(names.map((name) => task.output(fixture.path(name))));
    expect(methods.filter((method) => method === "hardlink").length).toBeLessThanOrEqual(1);
    for (const name of names) expect(await bytesAt(name)).toEqual(CONTENT);
  });

  it("lets one of two askers for one path have it", async () => {
    await task.output(fixture.path("first"));
    const outcomes = await Promise.allSettled([
      task.output(fixture.path("out")),
      task.output(fixture.path("out")),
    ]);
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(await bytesAt("out")).toEqual(CONTENT);
  });

  it("copies a range, and checks the digest of just that", async () => {
    const range = { offset: 950, length: 1100 };
    const bytes = CONTENT.subarray(950, 2050);
    const digester = createDigester("sha256");
    digester.update(bytes);
    const digest = digester.text();
    expect(await task.output(fixture.path("out"), { range, digest })).toBe("copy");
    expect(await bytesAt("out")).toEqual(bytes);
    const wrong = { range: { offset: 0, length: 1100 }, digest };
    await expect(task.output(fixture.path("wrong"), wrong)).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
    });
    const beyond = { range: { offset: 3000, length: 18 } };
    await expect(task.output(fixture.path("beyond"), beyond)).rejects.toThrow(RangeError);
  });

  it("copies a range of a task of which more is missing", async () => {
    const partial = await storage.createTask(factsOf(CONTENT, { taskId: "0".repeat(64) }));
    await writePieceOf(partial, 1, CONTENT);
    await partial.output(fixture.path("out"), { range: { offset: 1000, length: 1000 } });
    expect(await bytesAt("out")).toEqual(CONTENT.subarray(1000, 2000));
    await expect(partial.output(fixture.path("whole"))).rejects.toMatchObject({
      code: "ERR_PIECE_MISSING",
    });
  });

  it("does not show what has rotted since its digest was computed", async () => {
    const disk = new MemoryDisk();
    await fixture.reopen({ fileSystem: disk });
    task = await fixture.storage.createTask(factsOf(CONTENT));
    await fill(task, CONTENT);
    const digest = await task.digest("sha256");
    disk.rot(fixture.contentPath(), PIECE_LENGTH);
    const options = { digest, sinceMs: performance.now() };
    await expect(task.output(fixture.path("out"), options)).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
    });
    expect(disk.list().has(fixture.path("out"))).toBe(false);
  });

  it("does not show content whose digest is another", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    await expect(task.output(fixture.path("out"), { digest })).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
    });
    expect(await readdir(fixture.directory)).toEqual(["damselfly"]);
    await task.output(fixture.path("out"), { digest: await task.digest("sha256") });
    expect(await bytesAt("out")).toEqual(CONTENT);
  });

  it("ends with the signal's reason and leaves nothing", async () => {
    const reason = new Error("user pressed ctrl-c");
    const signal = AbortSignal.abort(reason);
    await expect(task.output(fixture.path("out"), { signal })).rejects.toBe(reason);
    const range = { offset: 0, length: 10 };
    await expect(task.output(fixture.path("out"), { signal, range })).rejects.toBe(reason);
    expect(await readdir(fixture.directory)).toEqual(["damselfly"]);
  });

  it("links again when a link is demanded", async () => {
    const force = { forceHardLink: true };
    expect(await task.output(fixture.path("first"), force)).toBe("hardlink");
    expect(await task.output(fixture.path("second"), force)).toBe("hardlink");
    expect(await inode("first")).toBe(await inode("second"));
  });

  it("copies to another file system, and refuses to when a link is demanded", async ({ skip }) => {
    const directory = await otherFileSystem(fixture.directory);
    skip(directory === undefined, "there is one file system only");
    if (directory === undefined) return;
    try {
      const path = join(directory, "out");
      await expect(task.output(path, { forceHardLink: true })).rejects.toMatchObject({
        code: "ERR_OUTPUT_LINK",
      });
      expect(await task.output(path)).toBe("copy");
      expect(Uint8Array.from(await readFile(path))).toEqual(CONTENT);
      expect(await readdir(directory)).toEqual(["out"]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("costs no check of the pieces: a link of our own is no surprise", async () => {
    await task.seal();
    await task.output(fixture.path("out"), { forceHardLink: true });
    const journal = await readFile(fixture.journalPath());
    await fixture.reopen();
    await fixture.storage.openTask(TASK_ID);
    // A check would have written a new fingerprint.
    expect(await readFile(fixture.journalPath())).toEqual(journal);
  });

  it("makes an empty file of an empty task", async () => {
    const empty = await storage.createTask(factsOf(contentOf(0), { taskId: "0".repeat(64) }));
    await empty.output(fixture.path("first"));
    await empty.output(fixture.path("second"));
    expect(await bytesAt("second")).toEqual(new Uint8Array());
  });
});

describe("an output of which a piece is denied while it is made", () => {
  const LIE = Uint8Array.from(CONTENT, (byte, at) => (at < PIECE_LENGTH ? byte ^ 0xff : byte));
  let disk: HookedDisk;

  beforeEach(async () => {
    disk = new HookedDisk();
    await fixture.reopen({ fileSystem: disk });
    task = await fixture.storage.createTask(factsOf(CONTENT));
    await fill(task, LIE);
  });

  async function deny(): Promise<void> {
    const record = task.pieces.get(0);
    if (record !== undefined) await task.deny([record]);
  }

  it.each([
    ["a part", { offset: 0, length: 2 * PIECE_LENGTH }],
    ["the whole", undefined],
  ])("has %s made anew when the right one has come meanwhile", async (_name, range) => {
    if (range === undefined) await task.output(fixture.path("first"));
    disk.onCopied = async () => {
      await deny();
      await writePieceOf(task, 0, CONTENT);
    };
    const options = range === undefined ? {} : { range };
    await task.output(fixture.path("out"), options);
    expect(disk.onCopied).toBeUndefined();
    const expected = CONTENT.subarray(0, range?.length);
    expect(Uint8Array.from(disk.read(fixture.path("out")))).toEqual(expected);
  });

  it("fails when no other one has come", async () => {
    disk.onCopied = deny;
    const range = { offset: 0, length: 2 * PIECE_LENGTH };
    await expect(task.output(fixture.path("out"), { range })).rejects.toMatchObject({
      code: "ERR_PIECE_MISSING",
    });
    expect(disk.list().has(fixture.path("out"))).toBe(false);
  });

  it("copies a part of which nothing is denied once", async () => {
    disk.onCopied = deny;
    const range = { offset: PIECE_LENGTH, length: 2 * PIECE_LENGTH };
    await task.output(fixture.path("out"), { range });
    expect(task.pieces.has(0)).toBe(false);
    expect(disk.copyCount).toBe(1);
  });

  it("is no link to it", async () => {
    disk.onClone = deny;
    await expect(task.output(fixture.path("out"))).rejects.toMatchObject({
      code: "ERR_PIECE_MISSING",
    });
    expect(disk.list().has(fixture.path("out"))).toBe(false);
    await writePieceOf(task, 0, CONTENT);
    expect(await task.output(fixture.path("out"))).toBe("hardlink");
    expect(Uint8Array.from(disk.read(fixture.path("out")))).toEqual(CONTENT);
  });
});

/** Tells when the first piece of an output is copied, once, and when the whole is about to be linked. */
class HookedDisk extends MemoryDisk {
  onCopied: (() => Promise<void>) | undefined;
  onClone: (() => Promise<void>) | undefined;
  copyCount = 0;

  override async open(path: string, flags: number, mode?: number): Promise<FileHandle> {
    const handle = await super.open(path, flags, mode);
    if (!path.includes("damselfly-tmp")) return handle;
    this.copyCount++;
    const write = handle.write.bind(handle);
    handle.write = async (buffer, offset, length, position) => {
      const hook = position >= PIECE_LENGTH ? this.onCopied : undefined;
      if (hook !== undefined) this.onCopied = undefined;
      await hook?.();
      return await write(buffer, offset, length, position);
    };
    return handle;
  }

  override async clone(from: string, to: string): Promise<void> {
    await this.onClone?.();
    await super.clone(from, to);
  }
}

describe("an output that its user changes", () => {
  beforeEach(async () => {
    await task.output(fixture.path("out"), { forceHardLink: true });
    await task.seal();
  });

  it("does not change what others get, and is left alone", async () => {
    await overwrite(fixture.path("out"), 1500);
    const edited = await bytesAt("out");
    await expectRepair([1]);
    expect(await bytesAt("out")).toEqual(edited);
  });

  it("is noticed before the task is sealed, too", async () => {
    const other = await storage.createTask(factsOf(CONTENT, { taskId: "0".repeat(64) }));
    await fill(other, CONTENT);
    await other.output(fixture.path("other"), { forceHardLink: true });
    await overwrite(fixture.path("other"), 1);
    await expect(other.seal()).rejects.toMatchObject({ code: "ERR_PIECE_MISSING" });
  });

  it("is noticed when its time was set back", async () => {
    const run = promisify(execFile);
    // To the nanosecond, which Node has no call for.
    await run("cp", ["-p", fixture.path("out"), fixture.path("reference")]);
    await overwrite(fixture.path("out"), 0);
    await run("touch", ["-r", fixture.path("reference"), fixture.path("out")]);
    await expectRepair([0]);
  });

  it("is its user's alone from the first write on, though every byte stays the same", async () => {
    const shared = (await stat(fixture.contentPath())).ino;
    await utimes(fixture.path("out"), 1_000_000, 1_000_000);
    await storage.openTask(TASK_ID);
    // Who writes through a memory map is seen once, and never again while the page is dirty.
    expect((await stat(fixture.path("out"))).ino).toBe(shared);
    expect((await stat(fixture.contentPath())).ino).not.toBe(shared);
    expect(task.complete).toBe(true);
    expect(await collect(task.read())).toEqual(CONTENT);
  });

  it("is noticed after a restart", async () => {
    await fixture.close();
    await overwrite(fixture.path("out"), 3016);
    storage = await fixture.open();
    const reopened = await storage.openTask(TASK_ID);
    expect(reopened?.pieces.has(3)).toBe(false);
    if (reopened !== undefined) task = reopened;
    await expectRepair([3]);
  });

  it.each([
    ["cut short", 1200, [1, 2, 3]],
    ["emptied", 0, [0, 1, 2, 3]],
  ])("may be %s", async (_name, length, lost) => {
    await writeFile(fixture.path("out"), CONTENT.subarray(0, length));
    await expectRepair(lost);
    expect(await bytesAt("out")).toEqual(CONTENT.subarray(0, length));
  });

  it("may grow, which costs no piece", async () => {
    await writeFile(fixture.path("out"), "more", { flag: "a" });
    await storage.openTask(TASK_ID);
    expect(task.complete).toBe(true);
    await task.output(fixture.path("again"), { forceHardLink: true });
    expect(await bytesAt("again")).toEqual(CONTENT);
    expect((await bytesAt("out")).length).toBe(CONTENT.length + 4);
  });

  it("may grow and be removed, and nobody gets what it had grown", async () => {
    await writeFile(fixture.path("out"), "more", { flag: "a" });
    await unlink(fixture.path("out"));
    await task.output(fixture.path("again"), { forceHardLink: true });
    expect(await bytesAt("again")).toEqual(CONTENT);
  });

  it("may be removed or change its mode, which costs no piece", async () => {
    await chmod(fixture.path("out"), 0o600);
    expect((await storage.openTask(TASK_ID))?.complete).toBe(true);
    await unlink(fixture.path("out"));
    expect((await storage.openTask(TASK_ID))?.complete).toBe(true);
    expect(await task.output(fixture.path("again"), { forceHardLink: true })).toBe("hardlink");
    expect(task.sealed).toBe(true);
  });

  it("may be removed without a look at the pieces", async () => {
    const epoch = epochOf(task);
    await unlink(fixture.path("out"));
    expect(await task.output(fixture.path("again"), { forceHardLink: true })).toBe("hardlink");
    expect(epochOf(task)).toBe(epoch);
    await chmod(fixture.path("again"), 0o600);
    await storage.openTask(TASK_ID);
    expect(epochOf(task)).toBeGreaterThan(epoch);
  });

  it("may be removed after a restart, again without a look at the pieces", async () => {
    await fixture.close();
    storage = await fixture.open();
    const reopened = await storage.openTask(TASK_ID);
    const epoch = epochOf(reopened);
    await unlink(fixture.path("out"));
    await storage.openTask(TASK_ID);
    expect(epochOf(reopened)).toBe(epoch);
  });

  it("is noticed when it was removed afterwards", async () => {
    await overwrite(fixture.path("out"), 1500);
    await unlink(fixture.path("out"));
    await storage.openTask(TASK_ID);
    expect(task.pieces.has(1)).toBe(false);
    await fill(task, CONTENT);
    await task.output(fixture.path("again"), { forceHardLink: true });
    expect(await bytesAt("again")).toEqual(CONTENT);
  });

  it("does not change what somebody is reading in these moments", async () => {
    const copies: Uint8Array[] = [];
    for await (const chunk of task.read()) {
      copies.push(Uint8Array.from(chunk));
      if (copies.length > 1) continue;
      await overwrite(fixture.path("out"), 2500);
      await storage.openTask(TASK_ID);
      await fill(task, CONTENT);
    }
    expect(Uint8Array.from(Buffer.concat(copies))).toEqual(CONTENT);
  });

  it("may be written to all the time", async () => {
    const stopped = new AbortController();
    const user = (async () => {
      while (!stopped.signal.aborted) await overwrite(fixture.path("out"), 2222);
    })();
    try {
      // As its callers do: fetch what is missing, ask again. From the first repair on the user has a file of his own.
      const repair = async (): Promise<void> => {
        await fill(task, CONTENT);
        await task.output(fixture.path("again"));
      };
      await vi.waitFor(repair, { timeout: 20_000 });
      expect(await bytesAt("again")).toEqual(CONTENT);
    } finally {
      stopped.abort();
      await user;
    }
  });

  /** The pieces are lost, come again into another file, and everybody gets the right bytes. */
  async function expectRepair(lost: readonly number[]): Promise<void> {
    await storage.openTask(TASK_ID);
    const missing = [0, 1, 2, 3].filter((number) => !task.pieces.has(number));
    expect(missing).toEqual(lost);
    await expect(task.output(fixture.path("early"))).rejects.toMatchObject({
      code: "ERR_PIECE_MISSING",
    });
    await fill(task, CONTENT);
    await task.output(fixture.path("again"), { forceHardLink: true });
    expect(await bytesAt("again")).toEqual(CONTENT);
    expect(await inode("again")).not.toBe(await inode("out"));
    await task.seal();
  }
});

/** Moves on with every look at all pieces. */
function epochOf(stored: StoredTask | undefined): number {
  if (!(stored instanceof TaskOnDisk)) throw new TypeError("the task is not one on disk");
  return stored.content.epoch;
}

async function bytesAt(name: string): Promise<Uint8Array> {
  return Uint8Array.from(await readFile(fixture.path(name)));
}

async function inode(name: string): Promise<number> {
  return (await stat(fixture.path(name))).ino;
}

/** A new directory on another device than `directory`; undefined where there is none to be found. */
async function otherFileSystem(directory: string): Promise<string | undefined> {
  const { dev } = await stat(directory);
  for (const candidate of ["/dev/shm", "/run", "/var/tmp"]) {
    try {
      if ((await stat(candidate)).dev === dev) continue;
      return await mkdtemp(join(candidate, "damselfly-storage-"));
    } catch {
      continue; // Not here, or not ours to write to.
    }
  }
  return undefined;
}

describe("assertOutput", () => {
  it("has nothing against a place that is free, the same file, or one to be overwritten", async () => {
    await task.assertOutput(fixture.path("out"));
    await link(fixture.contentPath(), fixture.path("same"));
    await task.assertOutput(fixture.path("same"));
    await writeFile(fixture.path("old"), "old");
    await task.assertOutput(fixture.path("old"), { overwrite: true });
    await task.assertOutput(fixture.path("out"), { forceHardLink: true });
    expect(await readFile(fixture.path("old"), "utf8")).toBe("old");
  });

  it("names what is in the way before there is anything to place", async () => {
    const empty = await storage.createTask({ ...factsOf(CONTENT), taskId: "f".repeat(64) });
    await writeFile(fixture.path("taken"), "");
    const refused = async (path: string, options = {}): Promise<unknown> =>
      await empty.assertOutput(path, options).catch((error: { code: string }) => error.code);
    expect(await refused(fixture.path("taken"))).toBe("ERR_OUTPUT_EXISTS");
    expect(await refused(fixture.directory, { overwrite: true })).toBe("ERR_OUTPUT_EXISTS");
    expect(await refused(fixture.path("no/such/place"))).toBe("ERR_OUTPUT_DIRECTORY");
    expect(await refused("relative")).toBe("ERR_OUTPUT_DIRECTORY");
    // A part of a file is never the same file.
    await link(fixture.contentPath(), fixture.path("same"));
    const part = { range: { offset: 0, length: 1 } };
    const same = task.assertOutput(fixture.path("same"), part);
    await expect(same).rejects.toMatchObject({ code: "ERR_OUTPUT_EXISTS" });
  });

  it.skipIf(!existsSync("/dev/shm"))("knows that no hard link leads to another disk", async () => {
    const directory = await mkdtemp("/dev/shm/damselfly-");
    try {
      const there = await stat(directory);
      const here = await stat(fixture.directory);
      if (there.dev === here.dev) return;
      const forced = task.assertOutput(join(directory, "out"), { forceHardLink: true });
      await expect(forced).rejects.toMatchObject({ code: "ERR_OUTPUT_LINK" });
      await task.assertOutput(join(directory, "out"));
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
