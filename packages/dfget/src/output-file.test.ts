import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { openOutputFile } from "./output-file.ts";
import { openTemporaryDirectory } from "./testing/fake-daemon.ts";

describe("openOutputFile", () => {
  it("does not replace what appeared meanwhile", async () => {
    await using directory = await openTemporaryDirectory();
    const path = join(directory.path, "out");
    {
      await using sink = await openOutputFile({
        path,
        length: 3,
        overwrite: false,
        digest: undefined,
      });
      await sink.write(0, Buffer.from("new"));
      await writeFile(path, "theirs");
      await expect(sink.finish()).rejects.toThrow(
        `Cannot write to ${path}: something with that name appeared meanwhile`,
      );
    }
    expect(await readFile(path, "utf8")).toBe("theirs");
    expect(await readdir(directory.path)).toEqual(["out"]);
  });

  it("shows nothing under its name before it is finished, and nothing at all when it is given up", async () => {
    await using directory = await openTemporaryDirectory();
    const path = join(directory.path, "out");
    const sink = await openOutputFile({ path, length: 3, overwrite: false, digest: undefined });
    await sink.write(2, Buffer.from("x"));
    expect(await readdir(directory.path)).not.toContain("out");
    await sink[Symbol.asyncDispose]();
    await sink[Symbol.asyncDispose]();
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("refuses a file that the disk has no room for, before anything is fetched", async () => {
    await using directory = await openTemporaryDirectory();
    const path = join(directory.path, "out");
    await expect(
      openOutputFile({
        path,
        length: Number.MAX_SAFE_INTEGER,
        overwrite: false,
        digest: undefined,
      }),
    ).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
    });
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("says which directory is missing", async () => {
    await expect(
      openOutputFile({ path: "/nonexistent/out", length: 1, overwrite: false, digest: undefined }),
    ).rejects.toMatchObject({
      code: "ERR_OUTPUT",
      message: "Cannot write to /nonexistent: ENOENT",
    });
  });
});
