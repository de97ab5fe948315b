import { constants } from "node:fs";
import { mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { readFully } from "./file-io.ts";
import type { FileHandle } from "./file-system.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import { OpenFiles } from "./open-files.ts";
import { SYSTEM_FILES } from "./system-files.ts";

let directory: string;
let files: OpenFiles;
const path = (name: string): string => join(directory, name);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-files-"));
  for (const name of ["a", "b", "c"]) await writeFile(path(name), name);
  files = new OpenFiles({ fileSystem: SYSTEM_FILES, idleCountMax: 1 });
});

afterEach(async () => {
  await files[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** A close that has begun is through with what comes before the next look at the disk. */
const closing = (): Promise<void> => setImmediate();

describe("OpenFiles", () => {
  it("shares one handle between users of a path, at once and one after the other", async () => {
    const [first, second] = await Promise.all([files.acquire(path("a")), files.acquire(path("a"))]);
    expect(second.handle).toBe(first.handle);
    first.release();
    first.release();
    expect((await second.handle.stat({ bigint: true })).size).toBe(1n);
    second.release();
    const third = await files.acquire(path("a"));
    expect(third.handle).toBe(first.handle);
    third.release();
  });

  it("keeps no more idle ones than it may, the last used", async () => {
    const a = await files.acquire(path("a"));
    const b = await files.acquire(path("b"));
    const c = await files.acquire(path("c"));
    for (const file of [c, a, b]) file.release();
    const again = await files.acquire(path("c"));
    expect(again.handle).toBe(c.handle);
    again.release();
    await expect(a.handle.stat({ bigint: true })).rejects.toMatchObject({ code: "EBADF" });
    await expect(b.handle.stat({ bigint: true })).rejects.toMatchObject({ code: "EBADF" });
  });

  it("keeps none that nobody has used for half a minute", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const used = await files.acquire(path("a"));
      const idle = await files.acquire(path("b"));
      idle.release();
      vi.advanceTimersByTime(15_000);
      (await files.acquire(path("b"))).release();
      vi.advanceTimersByTime(15_000);
      expect((await idle.handle.stat({ bigint: true })).size).toBe(1n);
      vi.advanceTimersByTime(15_000);
      await closing();
      await expect(idle.handle.stat({ bigint: true })).rejects.toMatchObject({ code: "EBADF" });
      expect((await used.handle.stat({ bigint: true })).size).toBe(1n);
      used.release();
      vi.advanceTimersByTime(30_000);
      await closing();
      await expect(used.handle.stat({ bigint: true })).rejects.toMatchObject({ code: "EBADF" });
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("opens anew what was forgotten, while users keep what they have", async () => {
    const old = await files.acquire(path("a"));
    await rename(path("b"), path("a"));
    files.forget(path("a"));
    const renewed = await files.acquire(path("a"));
    expect(await textOf(renewed.handle)).toBe("b");
    expect(await textOf(old.handle)).toBe("a");
    old.release();
    renewed.release();
  });

  it("tries again after a failure, and follows no symbolic link", async () => {
    await expect(files.acquire(path("new"))).rejects.toMatchObject({ code: "ENOENT" });
    await writeFile(path("new"), "");
    (await files.acquire(path("new"))).release();
    await symlink(path("a"), path("link"));
    await expect(files.acquire(path("link"))).rejects.toMatchObject({ code: "ELOOP" });
  });

  it("leaves no descriptor behind", async () => {
    const before = (await readdir("/proc/self/fd")).length;
    const used = await files.acquire(path("a"));
    (await files.acquire(path("b"))).release();
    await files[Symbol.asyncDispose]();
    expect((await readdir("/proc/self/fd")).length).toBe(before);
    await expect(used.handle.stat({ bigint: true })).rejects.toMatchObject({ code: "EBADF" });
    await expect(files.acquire(path("a"))).rejects.toThrow("closed");
    used.release();
  });
});

describe("OpenFiles without descriptors to spare", () => {
  it("closes what nobody uses before it gives up", async () => {
    let left = 2;
    const disk = new MemoryDisk({
      onStep({ name, changes }) {
        if (name === "close") left += 1;
        if (name !== "open" || changes) return undefined;
        if (left === 0) return "EMFILE";
        left -= 1;
        return undefined;
      },
    });
    for (const name of ["/a", "/b", "/c"]) await disk.open(name, constants.O_CREAT);
    const scarce = new OpenFiles({ fileSystem: disk, idleCountMax: 8 });
    const used = await scarce.acquire("/a");
    (await scarce.acquire("/b")).release();
    const third = await scarce.acquire("/c");
    await expect(scarce.acquire("/b")).rejects.toMatchObject({ code: "EMFILE" });
    third.release();
    (await scarce.acquire("/b")).release();
    used.release();
    await scarce[Symbol.asyncDispose]();
  });
});

async function textOf(handle: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(100);
  const count = await readFully(handle, buffer, { length: buffer.byteLength, position: 0 });
  return buffer.toString("utf8", 0, count);
}
