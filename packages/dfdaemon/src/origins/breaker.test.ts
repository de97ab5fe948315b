import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Breaker, DEFAULT_BREAKER_POLICY, type Passage } from "./breaker.ts";

const GO = { kind: "go" } as const;

/** Fails once at `nowMs`, having been let through; the time until which everybody is held back. */
function failAt(breaker: Breaker, nowMs: number, random = 0): number {
  expect(breaker.ask(nowMs)).toEqual(GO);
  breaker.failed(breaker.begin(), { nowMs, random });
  const held = breaker.ask(nowMs);
  return held.kind === "hold" ? held.untilMs : nowMs;
}

describe("Breaker", () => {
  it("lets everybody through as long as nothing fails", () => {
    const breaker = new Breaker();
    for (let count = 0; count < 100; count += 1) {
      expect(breaker.ask(0)).toEqual(GO);
      expect(breaker.begin().isTrial).toBe(false);
    }
    expect(breaker.state(0)).toBe("closed");
    expect(breaker.isIdle(0)).toBe(true);
  });

  it("holds back twice as long with each failure, up to a limit, and counts as open after some", () => {
    const breaker = new Breaker();
    let nowMs = 0;
    const holds: number[] = [];
    const states: string[] = [];
    for (let count = 0; count < 11; count += 1) {
      const untilMs = failAt(breaker, nowMs);
      states.push(breaker.state(nowMs));
      holds.push(untilMs - nowMs);
      nowMs = untilMs;
    }
    expect(holds).toEqual([
      200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000,
    ]);
    expect(states.slice(0, 4)).toEqual(["closed", "closed", "open", "open"]);
    expect(breaker.state(nowMs)).toBe("half-open");
  });

  it("holds back up to half as long less, by chance", () => {
    expect(failAt(new Breaker(), 0, 0.999_999)).toBeCloseTo(100, 2);
    expect(failAt(new Breaker(), 0, 0.5)).toBe(150);
  });

  it("lets one try, and the others only once that has an answer", () => {
    const breaker = new Breaker();
    const untilMs = failAt(breaker, 0);
    expect(breaker.ask(untilMs - 1)).toMatchObject({ kind: "hold", untilMs });
    expect(breaker.ask(untilMs)).toEqual(GO);
    const trial = breaker.begin();
    expect(trial.isTrial).toBe(true);
    expect(breaker.ask(untilMs)).toEqual({ kind: "await" });
    breaker.answered(trial);
    expect(breaker.ask(untilMs)).toEqual(GO);
    expect(breaker.begin().isTrial).toBe(false);
    expect(breaker.failureCount).toBe(1);
    breaker.succeeded(trial);
    expect(breaker.failureCount).toBe(0);
  });

  it("lets another try when the one that tried has gone", () => {
    const breaker = new Breaker();
    const untilMs = failAt(breaker, 0);
    breaker.left(breaker.begin());
    expect(breaker.ask(untilMs)).toEqual(GO);
    expect(breaker.begin().isTrial).toBe(true);
  });

  it("counts the failures of one moment once", () => {
    const breaker = new Breaker();
    const passages = Array.from({ length: 8 }, () => breaker.begin());
    for (const [index, passage] of passages.entries())
      breaker.failed(passage, { nowMs: Math.floor(index / 4), random: 0 });
    expect(breaker.failureCount).toBe(1);
    expect(breaker.ask(0)).toMatchObject({ untilMs: 200 });
  });

  it("counts failures that come after an answer, as of bodies that are cut off, each time", () => {
    const breaker = new Breaker();
    let nowMs = 0;
    for (let round = 1; round <= 4; round += 1) {
      const passages = Array.from({ length: 8 }, () => {
        const passage = breaker.begin();
        breaker.answered(passage);
        return passage;
      });
      for (const passage of passages) breaker.failed(passage, { nowMs: nowMs + 5, random: 0 });
      expect(breaker.failureCount).toBe(round);
      nowMs += 5 + 200 * 2 ** (round - 1);
      expect(breaker.ask(nowMs)).toEqual(GO);
    }
  });

  it("holds back as long as asked for, and no success shortens that", () => {
    const breaker = new Breaker();
    const early = breaker.begin();
    breaker.failed(breaker.begin(), { nowMs: 0, random: 0, askedForMs: 30_000 });
    expect(breaker.ask(0)).toEqual({ kind: "hold", untilMs: 30_000, isAskedFor: true });
    expect(breaker.state(0)).toBe("open");
    breaker.succeeded(early);
    expect(breaker.ask(29_999)).toMatchObject({ kind: "hold", isAskedFor: true });
    expect(breaker.ask(30_000)).toEqual(GO);
    expect(breaker.isIdle(29_999)).toBe(false);
    expect(breaker.isIdle(30_000)).toBe(true);
  });

  it("takes the longer of two pauses that are asked for at one moment, and adds a little by chance", () => {
    const breaker = new Breaker();
    const passages = [10_000, 60_000, 5_000].map((askedForMs) => ({
      passage: breaker.begin(),
      askedForMs,
    }));
    for (const { passage, askedForMs } of passages)
      breaker.failed(passage, { nowMs: 0, random: 0.5, askedForMs });
    expect(breaker.ask(0)).toMatchObject({ untilMs: 60_500 });
  });

  it("is not opened again by an answer to what was asked before it failed", () => {
    const breaker = new Breaker();
    const early = breaker.begin();
    failAt(breaker, 1);
    breaker.answered(early);
    expect(breaker.begin().isTrial).toBe(true);
  });

  it("never lets two try at once, never holds for ever, and always recovers, whatever happens", () => {
    const step = fc.record({
      what: fc.constantFrom("begin", "answered", "succeeded", "failed", "left"),
      which: fc.nat(),
      passMs: fc.integer({ min: 0, max: 30_000 }),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      askedForMs: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const breaker = new Breaker();
        const open: Passage[] = [];
        let nowMs = 0;
        for (const { what, which, passMs, random, askedForMs } of steps) {
          nowMs += passMs;
          if (what === "begin") {
            if (breaker.ask(nowMs).kind !== "go") continue;
            const passage = breaker.begin();
            open.push(passage);
            if (passage.isTrial) expect(breaker.ask(nowMs)).toEqual({ kind: "await" });
            continue;
          }
          const index = open.length === 0 ? -1 : which % open.length;
          const passage = open[index];
          if (passage === undefined) continue;
          if (what === "answered") {
            breaker.answered(passage);
            continue;
          }
          const before = breaker.ask(nowMs);
          open.splice(index, 1);
          if (what === "failed") breaker.failed(passage, { nowMs, random, askedForMs });
          else breaker[what](passage);
          const admission = breaker.ask(nowMs);
          // Only the one that tries, or a success, lets another try.
          if (before.kind === "await" && !passage.isTrial && what !== "succeeded")
            expect(admission.kind).not.toBe("go");
          if (admission.kind === "hold") {
            const longest = Math.max(DEFAULT_BREAKER_POLICY.holdMaxMs, 101_000);
            expect(admission.untilMs - nowMs).toBeLessThanOrEqual(longest);
          }
        }
        for (const passage of open) breaker.left(passage);
        nowMs += 200_000;
        expect(breaker.ask(nowMs)).toEqual(GO);
        const last = breaker.begin();
        if (last.isTrial) expect(breaker.ask(nowMs)).toEqual({ kind: "await" });
        breaker.succeeded(last);
        expect(breaker.isIdle(nowMs)).toBe(true);
        expect(breaker.state(nowMs)).toBe("closed");
      }),
    );
  });
});
