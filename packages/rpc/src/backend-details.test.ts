import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backendDetails, encodeBackendDetails } from "./backend-details.ts";
import { RpcError, status } from "./rpc-error.ts";

describe("backendDetails", () => {
  it("reads what encodeBackendDetails wrote", () => {
    const texts = fc.dictionary(
      fc.stringMatching(/^[a-z-]{1,20}$/),
      fc.string({ unit: "grapheme", maxLength: 30 }),
      { maxKeys: 10 },
    );
    const details = fc.record(
      {
        message: fc.string({ unit: "grapheme", maxLength: 100 }),
        header: texts,
        statusCode: fc.nat(999),
      },
      { requiredKeys: ["message", "header"] },
    );
    fc.assert(
      fc.property(details, (original) => {
        const error = status("INTERNAL", "origin said no", encodeBackendDetails(original));
        expect(backendDetails(error)).toEqual({ ...original, header: { ...original.header } });
      }),
    );
  });

  it("writes the JSON that Dragonfly's daemons write", () => {
    const bytes = encodeBackendDetails({ message: "no", header: { a: "b" }, statusCode: 403 });
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({
      message: "no",
      header: { a: "b" },
      status_code: 403,
    });
  });

  it("leaves out a header that would not fit into a status, and keeps the rest", () => {
    const header = { "set-cookie": "x".repeat(10_000) };
    const bytes = encodeBackendDetails({ message: "no", header, statusCode: 403 });
    const error = status("INTERNAL", "origin said no", bytes);
    expect(backendDetails(error)).toEqual({ message: "no", header: {}, statusCode: 403 });
  });

  it("sees nothing in an error without details", () => {
    expect(backendDetails(new RpcError("INTERNAL", "no"))).toBeUndefined();
  });

  it("sees nothing in details of another kind, and never throws", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          const details = backendDetails(status("INTERNAL", "no", bytes));
          expect(details === undefined || typeof details.message === "string").toBe(true);
        },
      ),
    );
    const almost = Buffer.from('{"header":{"a":"b"}}');
    expect(backendDetails(status("INTERNAL", "no", almost))).toBeUndefined();
  });
});
