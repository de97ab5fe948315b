import { describe, expect, it } from "vitest";
import { judgeHedge, type HedgeChoice, type PieceView } from "./judge-hedge.ts";

const MIB = 2 ** 20;

/** A piece of 4 MiB that comes at 10 MB/s, and has for a while. */
const GOOD: PieceView = {
  isAnnounced: true,
  silentMs: 0,
  sinceAskedMs: 10_000,
  sinceTakenMs: 10_000,
  rate: 10_000,
  isStarved: true,
  remaining: 2 * MIB,
  hedgeCount: 0,
  isSuspect: false,
};
const FAST_PARENT: HedgeChoice = { parent: { rate: 50_000 }, origin: false, isTail: false };
const NEW_PARENT: HedgeChoice = { parent: { rate: undefined }, origin: false, isTail: false };
const ORIGIN: HedgeChoice = { origin: true, isTail: false };
const NOBODY: HedgeChoice = { origin: false, isTail: false };

const judge = (piece: Partial<PieceView>, choice: HedgeChoice) =>
  judgeHedge({ ...GOOD, ...piece }, choice);

describe("judgeHedge", () => {
  it("leaves alone what comes", () => {
    for (const choice of [FAST_PARENT, NEW_PARENT, ORIGIN, NOBODY]) {
      expect(judge({}, choice)).toBeUndefined();
      expect(judge({ silentMs: 2_900 }, choice)).toBeUndefined();
    }
  });

  it("asks another parent for what is silent, or is not announced", () => {
    expect(judge({ silentMs: 3_000 }, NEW_PARENT)).toEqual({ to: "parent", reason: "silent" });
    const unannounced = { isAnnounced: false, silentMs: 3_000, remaining: 4 * MIB };
    expect(judge(unannounced, NEW_PARENT)).toEqual({ to: "parent", reason: "unannounced" });
  });

  it("has less patience with a host that has failed others", () => {
    expect(judge({ silentMs: 1_500, isSuspect: true }, NEW_PARENT)?.reason).toBe("silent");
    expect(judge({ silentMs: 1_400, isSuspect: true }, NEW_PARENT)).toBeUndefined();
  });

  it("asks the origin later, and only where no parent can be asked", () => {
    expect(judge({ silentMs: 4_900 }, ORIGIN)).toBeUndefined();
    expect(judge({ silentMs: 5_000 }, ORIGIN)).toEqual({ to: "origin", reason: "silent" });
    const both = { ...FAST_PARENT, origin: true };
    expect(judge({ silentMs: 5_000 }, both)?.to).toBe("parent");
    expect(judge({ silentMs: 60_000 }, NOBODY)).toBeUndefined();
  });

  it("gives whoever was asked last his time, longer for each, and asks no more than three", () => {
    const silent = { silentMs: 60_000, sinceAskedMs: 2_900 };
    expect(judge(silent, NEW_PARENT)).toBeUndefined();
    expect(judge({ ...silent, sinceAskedMs: 3_000 }, NEW_PARENT)).toBeDefined();
    expect(judge({ ...silent, sinceAskedMs: 5_900, hedgeCount: 1 }, NEW_PARENT)).toBeUndefined();
    expect(judge({ ...silent, sinceAskedMs: 6_000, hedgeCount: 1 }, NEW_PARENT)).toBeDefined();
    expect(judge({ ...silent, sinceAskedMs: 12_000, hedgeCount: 2 }, NEW_PARENT)).toBeDefined();
    expect(judge({ ...silent, sinceAskedMs: 60_000, hedgeCount: 3 }, NEW_PARENT)).toBeUndefined();
  });

  it("asks nobody for what has all come and only lacks its end", () => {
    expect(judge({ silentMs: 60_000, remaining: 0 }, FAST_PARENT)).toBeUndefined();
  });

  it("asks a parent that gives four times as much for what crawls and will not be over soon", () => {
    const crawling = { rate: 500 };
    expect(judge(crawling, FAST_PARENT)).toEqual({ to: "parent", reason: "crawled" });
    expect(judge(crawling, { ...FAST_PARENT, parent: { rate: 1_900 } })).toBeUndefined();
    expect(judge({ rate: 500, remaining: 900_000 }, FAST_PARENT)).toBeUndefined();
    expect(judge({ rate: 500, sinceTakenMs: 1_900 }, FAST_PARENT)).toBeUndefined();
    // That is silence, for which everybody has a little longer.
    expect(judge({ rate: 0, silentMs: 2_000 }, FAST_PARENT)).toBeUndefined();
  });

  it("blames nobody for what waits for the disk", () => {
    expect(judge({ rate: 500, isStarved: false }, FAST_PARENT)).toBeUndefined();
  });

  it("is quicker at the end, when everybody waits for what is late", () => {
    const late = { rate: 1_000, sinceTakenMs: 1_000, remaining: 600_000 };
    const choice = { parent: { rate: 2_000 }, origin: false, isTail: true };
    expect(judge(late, choice)).toEqual({ to: "parent", reason: "crawled" });
    expect(judge(late, { ...choice, isTail: false })).toBeUndefined();
    expect(judge({ ...late, remaining: 400_000 }, choice)).toBeUndefined();
    expect(judge({ rate: 0, silentMs: 1_500 }, choice)?.reason).toBe("silent");
    expect(judge({ rate: 0, silentMs: 1_400 }, choice)).toBeUndefined();
    expect(judge({ rate: 0, silentMs: 4_900 }, { ...ORIGIN, isTail: true })).toBeUndefined();
  });

  it("tries a parent that nobody has measured, and the origin, only for what would take long", () => {
    expect(judge({ rate: 100, remaining: 999_000 }, NEW_PARENT)).toBeUndefined();
    expect(judge({ rate: 100, remaining: 1_000_000 }, NEW_PARENT)?.to).toBe("parent");
    expect(judge({ rate: 100, remaining: 2_999_000 }, ORIGIN)).toBeUndefined();
    expect(judge({ rate: 100, remaining: 3_000_000 }, ORIGIN)).toEqual({
      to: "origin",
      reason: "crawled",
    });
  });
});
