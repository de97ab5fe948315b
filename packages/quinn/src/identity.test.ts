import { describe, expect, it } from "vitest";
import { encodeBase58 } from "./base58.ts";
import { createIdentity, peerKeyOf, readIdentity } from "./identity.ts";

describe("identity", () => {
  // libp2p specs, peer-ids/peer-ids.md, test vectors.
  const PRIVATE_KEY = Buffer.from(
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
    "hex",
  );
  const PUBLIC_KEY = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

  it("reads the private key of libp2p's test vectors", () => {
    const identity = readIdentity(PRIVATE_KEY);
    expect(Buffer.from(identity.publicKey).toString("hex")).toBe(PUBLIC_KEY);
  });

  it("has a new key each time, which its peer key belongs to", () => {
    const [one, other] = [createIdentity(), createIdentity()];
    expect(one.peerKey).toMatch(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);
    expect(one.peerKey).not.toBe(other.peerKey);
    expect(peerKeyOf(one.publicKey)).toBe(one.peerKey);
    expect(readIdentity(one.privateKey)).toEqual(one);
  });

  it("refuses what is no key, or two halves of different ones", () => {
    const { privateKey, publicKey } = createIdentity();
    expect(() => peerKeyOf(privateKey)).toThrow(TypeError);
    expect(() => peerKeyOf(publicKey.subarray(0, 35))).toThrow(TypeError);
    expect(() => readIdentity(publicKey)).toThrow(TypeError);
    const mixed = Buffer.concat([
      privateKey.subarray(0, 36),
      createIdentity().publicKey.subarray(4),
    ]);
    expect(() => readIdentity(mixed)).toThrow("its public half belongs to another key");
  });
});

describe("encodeBase58", () => {
  it.each([
    ["", ""],
    ["00", "1"],
    ["0000ff", "115Q"],
    ["48656c6c6f20576f726c6421", "2NEpo7TZRRrLZSi2U"],
  ])("writes %s as %s", (hex, text) => {
    expect(encodeBase58(Buffer.from(hex, "hex"))).toBe(text);
  });
});
