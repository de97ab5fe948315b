import { mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { checkOutput } from "./check-output.ts";
import { openTemporaryDirectory } from "./testing/fake-daemon.ts";

async function open() {
  const directory = await openTemporaryDirectory();
  const cwd = await realpath(directory.path);
  await mkdir(join(cwd, "dir"));
  await writeFile(join(cwd, "file"), "");
  await symlink("file", join(cwd, "link"));
  await symlink("missing", join(cwd, "dangling"));
  return { cwd, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

describe("checkOutput", () => {
  it("makes the path absolute", async () => {
    await using test = await open();
    expect(await checkOutput("dir/../new", { cwd: test.cwd, overwrite: false })).toBe(
      join(test.cwd, "new"),
    );
  });

  it("replaces what a link points to, not the link", async () => {
    await using test = await open();
    expect(await checkOutput("link", { cwd: test.cwd, overwrite: true })).toBe(
      join(test.cwd, "file"),
    );
    expect(await checkOutput("dangling", { cwd: test.cwd, overwrite: true })).toBe(
      join(test.cwd, "dangling"),
    );
  });

  it.each([
    ["file", false, "it exists already"],
    ["dangling", false, "it exists already"],
    ["dir", true, "it is a directory"],
    ["new/", false, "it names a directory"],
    ["missing/new", false, "missing does not exist"],
    ["file/new", false, "a part of its path is not a directory"],
    ["/dev/null", true, "it is not a regular file"],
  ])("refuses '%s'", async (output, overwrite, message) => {
    await using test = await open();
    const checked = checkOutput(output, { cwd: test.cwd, overwrite });
    await expect(checked).rejects.toMatchObject({
      code: "ERR_OUTPUT",
      message: expect.stringContaining(message),
    });
  });
});
