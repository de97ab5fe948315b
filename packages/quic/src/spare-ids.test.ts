import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { toKey } from "./packet-header.ts";
import { type IdIssuer, SpareIds } from "./spare-ids.ts";
import { ResetTokens } from "./stateless-reset.ts";

const tokens = new ResetTokens(randomBytes(32));

/** A connection whose peer takes `room` more ids, and gives back what is pushed to `retired`. */
function create(room: number, refuses = false) {
  const issued: { readonly id: Uint8Array; readonly token: bigint }[] = [];
  const retired: Uint8Array[] = [];
  const events: object[] = [];
  const keys = new Set<string>();
  const native: IdIssuer = {
    retiredScidNext: () => retired.shift() ?? null,
    sourceCidsLeft: () => room,
    newSourceCid(id, token) {
      if (refuses) throw new Error("IdLimit");
      return issued.push({ id, token });
    },
    pathEventNext: () => events.shift() ?? null,
  };
  return { issued, retired, events, keys, ids: new SpareIds(native, tokens, keys) };
}

describe("SpareIds", () => {
  it("issues three ids with their tokens, and no more, whatever the binding says is left", () => {
    const { ids, issued, keys } = create(Number.MAX_SAFE_INTEGER);
    ids.refresh();
    ids.refresh();
    expect(issued).toHaveLength(3);
    for (const { id, token } of issued) {
      expect(keys.has(toKey(id))).toBe(true);
      expect(token).toBe(tokens.numberOf(id));
    }
  });

  it("forgets an id that the peer gives back, and issues another", () => {
    const { ids, issued, retired, keys } = create(1);
    ids.refresh();
    const old = issued[0]?.id ?? new Uint8Array(0);
    retired.push(old);
    ids.refresh();
    expect(issued).toHaveLength(4);
    expect(keys.has(toKey(old))).toBe(false);
    expect(keys.size).toBe(3);
  });

  it("issues none to a peer that takes none", () => {
    const taking = create(0);
    taking.ids.refresh();
    expect(taking.issued).toHaveLength(0);
    const refusing = create(1, true);
    refusing.ids.refresh();
    expect(refusing.keys.size).toBe(0);
  });

  it("leaves nothing noted about paths", () => {
    const { ids, events } = create(0);
    events.push({}, {});
    ids.refresh();
    expect(events).toHaveLength(0);
  });
});
