import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RetryTokens } from "./retry-token.ts";

const context = { ip: "10.0.0.1", newId: randomBytes(16) };

describe("RetryTokens", () => {
  it("gives back the id that was sealed, for ten seconds", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (id) => {
        const tokens = new RetryTokens();
        const token = tokens.seal(id, context, 5_000);
        expect(tokens.open(token, context, 14_999)).toEqual(Buffer.from(id));
        expect(tokens.open(token, context, 15_000)).toBeUndefined();
      }),
    );
  });

  it("takes a token from no other address, for no other id, and from no other process", () => {
    const tokens = new RetryTokens();
    const token = tokens.seal(randomBytes(8), context, 0);
    expect(tokens.open(token, { ...context, ip: "10.0.0.2" }, 1)).toBeUndefined();
    expect(tokens.open(token, { ...context, newId: randomBytes(16) }, 1)).toBeUndefined();
    expect(new RetryTokens().open(token, context, 1)).toBeUndefined();
  });

  it("takes no token that was changed, cut or made up", () => {
    const tokens = new RetryTokens();
    const token = tokens.seal(randomBytes(8), context, 0);
    fc.assert(
      fc.property(fc.nat(token.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = token.map((byte, index) => (index === at ? byte ^ change : byte));
        expect(tokens.open(changed, context, 1)).toBeUndefined();
        expect(tokens.open(token.subarray(0, at), context, 1)).toBeUndefined();
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(tokens.open(bytes, context, 1)).toBeUndefined();
      }),
    );
  });
});
