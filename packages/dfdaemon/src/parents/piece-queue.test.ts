import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PieceQueue } from "./piece-queue.ts";

describe("PieceQueue", () => {
  it("takes the rarest piece first", () => {
    const queue = new PieceQueue<string>();
    for (const number of [0, 1, 2]) queue.want(number);
    for (const number of [0, 1, 2]) queue.offer(number, "a");
    queue.offer(0, "b");
    queue.offer(1, "b");
    expect(queue.take(() => 1)?.number).toBe(2);
  });

  it("takes a piece from the cheapest of its holders", () => {
    const queue = new PieceQueue<{ cost: number | undefined }>();
    const busy = { cost: undefined };
    const dear = { cost: 5 };
    const cheap = { cost: 2 };
    queue.want(0);
    for (const source of [busy, dear, cheap]) queue.offer(0, source);
    expect(queue.take((source) => source.cost)).toEqual({ number: 0, source: cheap });
  });

  it("spreads over pieces of equal rarity", () => {
    const firsts = new Set<number | undefined>();
    for (let round = 0; round < 200; round += 1) {
      const queue = new PieceQueue<string>();
      for (const number of [0, 1, 2, 3]) {
        queue.want(number);
        queue.offer(number, "a");
      }
      firsts.add(queue.take(() => 1)?.number);
    }
    expect(firsts).toEqual(new Set([0, 1, 2, 3]));
  });

  it("does not ask a source again for a piece it failed with", () => {
    const queue = new PieceQueue<string>();
    queue.want(0);
    queue.offer(0, "a");
    queue.take(() => 1);
    queue.fail(0, "a");
    queue.offer(0, "a");
    expect(queue.take(() => 1)).toBeUndefined();
    expect(queue.takeUnoffered()).toBe(0);
  });

  it("leaves to the origin only what nobody offers, lowest first", () => {
    const queue = new PieceQueue<string>();
    for (const number of [3, 1, 2]) queue.want(number);
    queue.offer(1, "a");
    expect(queue.takeUnoffered()).toBe(2);
    expect(queue.takeUnoffered()).toBe(3);
    expect(queue.takeUnoffered()).toBeUndefined();
    queue.withdraw("a");
    expect(queue.takeUnoffered()).toBe(1);
  });

  it("leaves any of them at random to those who are many", () => {
    const firsts = new Set<number | undefined>();
    for (let round = 0; round < 200; round += 1) {
      const queue = new PieceQueue<string>();
      for (const number of [0, 1, 2, 3]) queue.want(number);
      queue.offer(2, "a");
      firsts.add(queue.takeUnoffered({ atRandom: true }));
    }
    expect(firsts).toEqual(new Set([0, 1, 3]));
  });

  it("knows who else has a piece that is in flight, less those who failed with it", () => {
    const queue = new PieceQueue<string>();
    queue.want(0);
    for (const source of ["a", "b", "c"]) queue.offer(0, source);
    queue.take((source) => (source === "a" ? 1 : 2));
    queue.refuse(0, "a");
    queue.offer(0, "a");
    expect([...queue.holders(0)]).toEqual(["b", "c"]);
    expect(queue.take(() => 1)).toBeUndefined();
    queue.fail(0);
    expect(queue.take((source) => (source === "a" ? 1 : 2))?.source).toBe("b");
    expect([...queue.holders(1)]).toEqual([]);
  });

  it("fetches a piece again that was found damaged", () => {
    const queue = new PieceQueue<string>();
    queue.want(0);
    queue.done(0);
    expect(queue.finished).toBe(true);
    queue.lose(0);
    expect(queue.finished).toBe(false);
    expect(queue.takeUnoffered()).toBe(0);
  });

  it("ends with every piece exactly once, whatever arrives, fails or departs in whatever order", () => {
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("offer"), number: fc.nat(9), source: fc.nat(3) }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("take"), number: fc.nat(9), source: fc.nat(3) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("takeUnoffered"),
          number: fc.nat(9),
          source: fc.nat(3),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant("arrive"), number: fc.nat(9), source: fc.nat(3) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant("fail"), number: fc.nat(9), source: fc.nat(3) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("depart"), number: fc.nat(9), source: fc.nat(3) }),
      },
    );
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 200 }),
        fc.integer({ min: 1, max: 10 }),
        (actions, count) => {
          const queue = new PieceQueue<number>();
          for (let number = 0; number < count; number += 1) queue.want(number);
          const inFlight = new Map<number, number | undefined>();
          const arrived: number[] = [];
          const took = (number: number, source: number | undefined): void => {
            expect(inFlight.has(number)).toBe(false);
            expect(arrived).not.toContain(number);
            inFlight.set(number, source);
          };
          const arrive = (): void => {
            const [number] = inFlight.keys();
            if (number === undefined) return;
            inFlight.delete(number);
            queue.done(number);
            arrived.push(number);
          };
          for (const { kind, number, source } of actions) {
            if (kind === "offer") queue.offer(number, source);
            else if (kind === "arrive") arrive();
            else if (kind === "depart") queue.withdraw(source);
            else if (kind === "take") {
              const taken = queue.take(() => 1);
              if (taken !== undefined) took(taken.number, taken.source);
            } else if (kind === "takeUnoffered") {
              const taken = queue.takeUnoffered();
              if (taken !== undefined) took(taken, undefined);
            } else {
              const [first] = inFlight;
              if (first === undefined) continue;
              inFlight.delete(first[0]);
              queue.fail(first[0], first[1]);
            }
            expect(queue.missingCount).toBe(count - inFlight.size - arrived.length);
          }
          // The origin and whoever is left finish the job.
          for (;;) {
            const number = queue.takeUnoffered() ?? queue.take(() => 1)?.number;
            if (number === undefined && inFlight.size === 0) break;
            if (number !== undefined) took(number, undefined);
            arrive();
          }
          expect(queue.finished).toBe(true);
          expect(arrived.toSorted((a, b) => a - b)).toEqual(
            Array.from({ length: count }, (_, index) => index),
          );
        },
      ),
    );
  });
});
