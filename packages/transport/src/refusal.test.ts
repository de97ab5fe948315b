import { describe, expect, it } from "vitest";
import { TransportError, type TransportErrorCode } from "./errors.ts";
import { toRefusal } from "./refusal.ts";

describe("toRefusal", () => {
  it.each<TransportErrorCode>(["ERR_PIECE_NOT_FOUND", "ERR_PARENT_BUSY", "ERR_PARENT_FAILED"])(
    "passes on what the source meant by %s",
    (code) => {
      const error = new TransportError(code, "Cannot open piece: it is so");
      expect(toRefusal(error)).toEqual({ code, message: "Cannot open piece: it is so" });
    },
  );

  it.each([
    new TransportError("ERR_PIECE_TRUNCATED", "Cannot read /var/lib/secret: it is short"),
    new Error("EACCES: permission denied, open '/var/lib/secret'"),
    "a string, of all things: /var/lib/secret",
  ])("keeps the details of other errors on this host", (error) => {
    const refusal = toRefusal(error);
    expect(refusal.code).toBe("ERR_PARENT_FAILED");
    expect(refusal.message).not.toContain("secret");
  });
});
