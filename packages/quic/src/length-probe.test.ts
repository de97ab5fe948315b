import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeLengthMessage, encodeAnswer, encodeProbe } from "./length-probe.ts";

describe("decodeLengthMessage", () => {
  const ids = fc.integer({ min: 0, max: 2 ** 32 - 1 });

  it("reads what was written", () => {
    fc.assert(
      fc.property(ids, fc.integer({ min: 5, max: 16_383 }), (id, length) => {
        expect(decodeLengthMessage(encodeProbe(id, length))).toEqual({ kind: "probe", id, length });
        const answer = { kind: "answer", id, length };
        expect(decodeLengthMessage(encodeAnswer({ id, length }))).toEqual(answer);
      }),
    );
  });

  it("ignores everything else", () => {
    for (const hex of [
      "",
      "00",
      "01",
      "01000000",
      "02",
      "020000000000",
      "0200000000000000",
      "03ff",
    ]) {
      expect(decodeLengthMessage(Buffer.from(hex, "hex"))).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        const message = decodeLengthMessage(bytes);
        if (message?.kind === "probe") expect(message.length).toBe(bytes.byteLength);
        if (message?.kind === "answer") expect(bytes.byteLength).toBe(7);
      }),
    );
  });
});
