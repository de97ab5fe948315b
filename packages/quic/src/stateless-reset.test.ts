import { randomBytes } from "node:crypto";
import { createTestAuthority } from "@damselfly/rpc/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createResetKey, ResetTokens } from "./stateless-reset.ts";

describe("ResetTokens", () => {
  it("answers with less than was asked, as a short packet that ends in the token", () => {
    const tokens = new ResetTokens(randomBytes(32));
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.integer({ min: 22, max: 1500 }),
        (id, length) => {
          const packet = tokens.packetFor(id, length) ?? Buffer.alloc(0);
          expect(packet.byteLength).toBeGreaterThanOrEqual(21);
          expect(packet.byteLength).toBeLessThan(length);
          expect((packet[0] ?? 0) & 0xc0).toBe(0x40);
          expect(packet.subarray(-16)).toEqual(tokens.of(id));
        },
      ),
    );
  });

  it("answers nothing to what is too short, so that two of them fall silent", () => {
    const tokens = new ResetTokens(randomBytes(32));
    for (let length = 0; length <= 21; length++) {
      expect(tokens.packetFor(randomBytes(16), length)).toBeUndefined();
    }
    let length = 1500;
    let count = 0;
    for (; count < 100; count++) {
      const answer = tokens.packetFor(randomBytes(16), length);
      if (answer === undefined) break;
      length = answer.byteLength;
    }
    expect(count).toBeLessThan(60);
  });

  it("makes another token for another id and another key, and the same for the same", () => {
    const [key, id] = [randomBytes(32), randomBytes(16)];
    const tokens = new ResetTokens(key);
    expect(new ResetTokens(key).of(id)).toEqual(tokens.of(id));
    expect(tokens.of(randomBytes(16))).not.toEqual(tokens.of(id));
    expect(new ResetTokens(randomBytes(32)).of(id)).not.toEqual(tokens.of(id));
    expect(tokens.numberOf(id).toString(16).padStart(32, "0")).toBe(tokens.of(id).toString("hex"));
  });
});

describe("createResetKey", () => {
  it("follows from the private key, and is random without one", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue();
    expect(createResetKey({ ...tls })).toEqual(createResetKey(tls));
    expect(createResetKey(await authority.issue())).not.toEqual(createResetKey(tls));
    expect(createResetKey("insecure")).not.toEqual(createResetKey("insecure"));
  });
});
