import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "../schedule/fault-kinds.mjs";
import { originBoundBytes } from "./origin-bound.mjs";

const MIB = 2 ** 20;
const spec = { name: "f", ranges: true, validators: "both", isChunked: false };

function bound(about) {
  const defaults = { spec, lengths: [100 * MIB], askerCount: 3, clients: [], incidents: [] };
  return originBoundBytes({ ...defaults, ...about }) / MIB;
}

const faults = (...list) => ({ incidents: list.map((fault) => ({ fault })) });

describe("originBoundBytes", () => {
  it("is the file once where nothing goes wrong", () => {
    expect(bound({})).toBe(104);
  });

  it("adds what was under way for a reader that is killed, and all of it where there are no ranges", () => {
    const killed = faults({ kind: "kill-daemon", target: "seed" });
    expect(bound(killed)).toBe(104 + 32);
    expect(bound({ ...killed, spec: { ...spec, ranges: false } })).toBe(104 + 100);
  });

  it("adds every node's own copy where they cannot agree, and every version", () => {
    expect(bound(faults({ kind: "kill-scheduler", target: "scheduler" }))).toBe(104 + 300);
    expect(bound({ lengths: [100 * MIB, 10 * MIB] })).toBe(114 + 300);
  });

  it("adds nothing for what concerns other files", () => {
    expect(bound(faults({ kind: "lie", target: "g" }))).toBe(104);
    expect(bound(faults({ kind: "origin-error", target: "g", how: "500" }))).toBe(104);
  });

  it("knows every fault", () => {
    for (const kind of Object.keys(FAULT_KINDS))
      expect(bound(faults({ kind, target: "f" }))).toBeGreaterThanOrEqual(104);
  });
});
