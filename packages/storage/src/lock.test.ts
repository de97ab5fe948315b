import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { acquireLock } from "./lock.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-lock-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe("acquireLock", () => {
  it("refuses a second holder until the first lets go", async () => {
    const first = await acquireLock(directory);
    await expect(acquireLock(directory)).rejects.toMatchObject({ code: "ERR_STORAGE_LOCKED" });
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    const second = await acquireLock(directory);
    await second[Symbol.asyncDispose]();
    expect(await readdir(directory)).toEqual([]);
  });

  it("is no obstacle when its holder was killed, and one when it merely hangs", async () => {
    const holder = await listenElsewhere(join(directory, "12345678"));
    holder.kill("SIGSTOP");
    await expect(acquireLock(directory)).rejects.toMatchObject({ code: "ERR_STORAGE_LOCKED" });
    holder.kill("SIGKILL");
    await once(holder, "exit");
    expect(await readdir(directory)).toEqual(["12345678"]);

    const lock = await acquireLock(directory);
    expect(await readdir(directory)).not.toContain("12345678");
    await lock[Symbol.asyncDispose]();
  });

  it("never has two holders, however many try at once", async () => {
    for (let round = 0; round < 5; round++) {
      await writeFile(join(directory, "stale"), "left by something else");
      const attempts = Array.from({ length: 6 }, () => acquireLock(directory));
      const locks = (await Promise.allSettled(attempts)).flatMap((outcome) =>
        outcome.status === "fulfilled" ? [outcome.value] : [],
      );
      expect(locks.length).toBeLessThanOrEqual(1);
      for (const lock of locks) await lock[Symbol.asyncDispose]();
      expect(await readdir(directory)).toEqual([]);
    }
  });

  it("works in a directory whose path is longer than a socket's address", async () => {
    const deep = join(directory, "d".repeat(120));
    const lock = await acquireLock(deep);
    expect(await readdir(deep)).toHaveLength(1);
    await expect(acquireLock(deep)).rejects.toMatchObject({ code: "ERR_STORAGE_LOCKED" });
    await lock[Symbol.asyncDispose]();
  });

  it("says so when there can be no such directory", async () => {
    await writeFile(join(directory, "file"), "");
    await expect(acquireLock(join(directory, "file"))).rejects.toMatchObject({ code: "ERR_IO" });
  });
});

async function listenElsewhere(path: string): Promise<ChildProcess> {
  const code = `require("net").createServer().listen(process.argv[1], () => console.log())`;
  const child = spawn(process.execPath, ["-e", code, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}
