import { describe, expect, it } from "vitest";
import { SettingsError } from "./errors.ts";
import { serializeError } from "./serialize-error.ts";

describe("serializeError", () => {
  it("says what happened and why, without the way through the program, of a failure that has a code", () => {
    const cause = Object.assign(new Error("no such file"), { code: "ENOENT" });
    const error = new SettingsError("ERR_SETTINGS_FILE", "Cannot read settings", { cause });
    const text = JSON.stringify(serializeError(error));
    expect(JSON.parse(text)).toMatchObject({
      type: "SettingsError",
      code: "ERR_SETTINGS_FILE",
      message: "Cannot read settings: no such file",
    });
    expect(text).not.toContain("serialize-error");
    expect(JSON.stringify(serializeError(cause))).not.toContain("serialize-error");
  });

  it("leaves the message of an error in another process as it is", () => {
    expect(serializeError("write ECONNRESET")).toBe("write ECONNRESET");
  });

  it("shows the way through the program of a mistake in it", () => {
    expect(serializeError(new TypeError("x is not a function"))).toMatchObject({
      type: "TypeError",
      stack: expect.stringContaining("serialize-error.test"),
    });
  });
});
