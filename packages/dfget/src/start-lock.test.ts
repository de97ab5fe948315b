import { spawnSync } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { tryStartLock } from "./start-lock.ts";
import { openTemporaryDirectory } from "./testing/fake-daemon.ts";

/** Of a process that has ended. */
const deadPid = spawnSync(process.execPath, ["-e", "0"]).pid;

describe("tryStartLock", () => {
  it("is held by one at a time and leaves nothing behind", async () => {
    await using directory = await openTemporaryDirectory();
    const path = join(directory.path, "lock");
    const tries = await Promise.all(
      Array.from({ length: 8 }, () => tryStartLock(path, process.pid)),
    );
    const [lock, ...others] = tries.filter((each) => each !== undefined);
    expect(others).toEqual([]);
    await lock?.[Symbol.asyncDispose]();
    expect(await readdir(directory.path)).toEqual([]);
    const again = await tryStartLock(path, process.pid);
    expect(again).toBeDefined();
    await again?.[Symbol.asyncDispose]();
  });

  it.each([String(deadPid), "", "nonsense"])(
    "takes over from a holder that is gone: '%s'",
    async (text) => {
      await using directory = await openTemporaryDirectory();
      const path = join(directory.path, "lock");
      await writeFile(path, text);
      await using lock = await tryStartLock(path, process.pid);
      expect(lock).toBeDefined();
      expect(await readdir(directory.path)).toEqual(["lock"]);
    },
  );
});
