import { describe, expect, it } from "vitest";
import { timeBoundMs } from "./time-bound.mjs";

const download = { node: "peer-1", file: "f" };

function bound(about) {
  const defaults = { download, length: 0, incidents: [], fromMs: 1_000, nowMs: 9_000, slowness: 1 };
  return timeBoundMs({ ...defaults, ...about });
}

describe("timeBoundMs", () => {
  it("gives a download the longest silence and time for its bytes, and more where all is slow", () => {
    expect(bound({})).toBe(45_000);
    expect(bound({ length: 2_000_000 })).toBe(46_000);
    expect(bound({ length: 2_000_000, slowness: 3 })).toBe(58_000);
  });

  it("adds what went wrong, up to its end and the time-out behind it, but not one after another", () => {
    const kill = { fault: { kind: "kill-worker", target: "peer-1" }, fromMs: 0, untilMs: 2_000 };
    expect(bound({ incidents: [kill] })).toBe(1_000 + 17_000 + 45_000);
    expect(bound({ incidents: [kill, { ...kill, untilMs: 3_000 }] })).toBe(2_000 + 17_000 + 45_000);
    const lasting = { ...kill, untilMs: Number.POSITIVE_INFINITY };
    expect(bound({ incidents: [lasting] })).toBe(8_000 + 17_000 + 45_000);
  });

  it("adds the stalls of a few parents for what goes wrong on other nodes, however long it lasts", () => {
    const other = { fault: { kind: "stop-daemon", target: "peer-2" }, fromMs: 0, untilMs: 9_000 };
    expect(bound({ incidents: [other] })).toBe(61_000);
    expect(bound({ incidents: Array.from({ length: 9 }, () => other) })).toBe(93_000);
  });

  it("adds nothing for what goes wrong with other files", () => {
    const lie = { fault: { kind: "lie", target: "g" }, fromMs: 0, untilMs: 2_000 };
    expect(bound({ incidents: [lie] })).toBe(45_000);
  });

  it("takes the user's own bound for what it is", () => {
    expect(bound({ download: { ...download, timeoutSeconds: 5 } })).toBe(10_000);
  });
});
