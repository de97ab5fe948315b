import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteBudget, type Reservation } from "./byte-budget.ts";

const { signal } = new AbortController();

describe("ByteBudget", () => {
  it("grants what fits, and the rest in the order it was asked for", async () => {
    const budget = new ByteBudget(10);
    const granted: string[] = [];
    const ask = async (name: string, length: number): Promise<Reservation> => {
      const reservation = await budget.reserve(length, signal);
      granted.push(name);
      return reservation;
    };
    const first = await ask("first", 6);
    const second = ask("second", 6);
    const third = ask("third", 4);
    expect(budget.tryReserve(1)).toBeUndefined(); // others wait
    await Promise.resolve();
    expect(granted).toEqual(["first"]);
    first.release();
    (await second).release();
    await third;
    expect(granted).toEqual(["first", "second", "third"]);
    expect(budget.usedLength).toBe(4);
  });

  it("grants more than all of it to one that is alone", async () => {
    const budget = new ByteBudget(10);
    const large = await budget.reserve(50, signal);
    expect(budget.tryReserve(1)).toBeUndefined();
    large.release();
    expect(budget.usedLength).toBe(0);
  });

  it("lets those behind one that gives up have its turn", async () => {
    const budget = new ByteBudget(10);
    const held = await budget.reserve(5, signal);
    const controller = new AbortController();
    const large = budget.reserve(8, controller.signal);
    const small = budget.reserve(5, signal);
    controller.abort(new Error("enough"));
    await expect(large).rejects.toThrow("enough");
    await small;
    expect(budget.usedLength).toBe(10);
    held.release();
    held.release();
    expect(budget.usedLength).toBe(5);
  });

  it("refuses at once when the signal has aborted before", async () => {
    const budget = new ByteBudget(10);
    await expect(budget.reserve(1, AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
    expect(budget.usedLength).toBe(0);
  });

  it("never grants beyond its bound, and is empty when all is given back", async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.infiniteStream(fc.nat()), async (asked, choices) => {
        const budget = new ByteBudget(10);
        const held: Reservation[] = [];
        const overdrafts: number[] = [];
        const reserving = asked.map(async (length) => {
          held.push(await budget.reserve(length, signal));
          if (budget.usedLength > 10 && held.length > 1) overdrafts.push(budget.usedLength);
        });
        for (let done = 0; done < asked.length; done++) {
          await new Promise(setImmediate);
          const [freed] = held.splice((choices.next().value ?? 0) % held.length, 1);
          freed?.release();
        }
        await Promise.all(reserving);
        expect({ overdrafts, usedLength: budget.usedLength }).toEqual({
          overdrafts: [],
          usedLength: 0,
        });
      }),
    );
  });
});
