import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldName, nearestName } from "./nearest-name.ts";

const KEYS = ["protocol", "port", "ip", "caCert", "quicPort", "grpcPort", "idleTimeout"];

describe("nearestName", () => {
  it.each([
    ["protcol", "protocol"],
    ["portocol", "protocol"],
    ["prt", "port"],
    ["cacert", "caCert"],
    ["CACert", "caCert"],
    ["ca-cert", "caCert"],
    ["IP", "ip"],
    ["quickPort", "quicPort"],
    ["idletimout", "idleTimeout"],
  ])("takes %s for %s", (name, meant) => expect(nearestName(name, KEYS)).toBe(meant));

  it.each(["ib", "log", "tcpFastopen", "", "protocolVersion"])("takes %j for none", (name) =>
    expect(nearestName(name, KEYS)).toBeUndefined(),
  );

  it("finds every name however it is spelt", () => {
    const name = fc.string({ unit: fc.constantFrom("a", "B", "c", "_", "-"), minLength: 1 });
    fc.assert(
      fc.property(name, (key) => {
        const found = nearestName(key.toUpperCase(), [key]);
        expect(found).toBe(key);
        expect(foldName(key)).toBe(foldName(key.toUpperCase()));
      }),
    );
  });

  it("finds a name with one letter left out, added, changed or swapped", () => {
    const word = fc.string({
      unit: fc.constantFrom("a", "b", "c", "d"),
      minLength: 4,
      maxLength: 12,
    });
    fc.assert(
      fc.property(word, fc.nat(), (key, at) => {
        const cut = at % key.length;
        const edits = [
          key.slice(0, cut) + key.slice(cut + 1),
          `${key.slice(0, cut)}x${key.slice(cut)}`,
          `${key.slice(0, cut)}x${key.slice(cut + 1)}`,
          key.slice(0, cut) + (key[cut + 1] ?? "") + (key[cut] ?? "") + key.slice(cut + 2),
        ];
        for (const edit of edits) expect(nearestName(edit, [key])).toBe(key);
      }),
    );
  });
});
