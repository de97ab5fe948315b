import { describe, expect, it } from "vitest";

import { StorageError, toStorageError } from "./errors.ts";

describe("toStorageError", () => {
  it.each([
    ["ENOSPC", "ERR_NO_SPACE"],
    ["EDQUOT", "ERR_NO_SPACE"],
    ["EROFS", "ERR_READ_ONLY"],
    ["EMFILE", "ERR_TOO_MANY_FILES"],
    ["ENFILE", "ERR_TOO_MANY_FILES"],
    ["EIO", "ERR_IO"],
    ["EACCES", "ERR_IO"],
  ])("makes %s an %s and keeps it as the cause", (code, expected) => {
    const cause = Object.assign(new Error(`${code}: it failed`), { code });
    expect(toStorageError("write piece 3", cause)).toMatchObject({
      code: expected,
      message: expect.stringMatching(/^Cannot write piece 3: /),
      cause,
    });
  });

  it("passes its own on", () => {
    const error = new StorageError("ERR_TASK_GONE", "gone");
    expect(toStorageError("write", error)).toBe(error);
  });

  it("makes something of what is no error", () => {
    expect(toStorageError("write", "a string")).toMatchObject({
      code: "ERR_IO",
      message: "Cannot write: a string",
    });
  });
});
