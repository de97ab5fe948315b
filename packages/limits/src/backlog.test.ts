import { describe, expect, it } from "vitest";
import { Backlog } from "./backlog.ts";

class Owner {
  isDestroyed = false;
  destroy(): void {
    this.isDestroyed = true;
  }
}

let now = 0;
const create = (): Backlog<Owner> => new Backlog<Owner>({ lengthMax: 100, now: () => now });

describe("Backlog", () => {
  it("cuts off who has made no progress for longest: not at the bound, but beyond it", () => {
    const backlog = create();
    const [first, second, third] = [new Owner(), new Owner(), new Owner()];
    backlog.set(first, 40);
    backlog.set(second, 40);
    backlog.set(first, 60); // progress
    expect([first, second].some(({ isDestroyed }) => isDestroyed)).toBe(false);
    backlog.set(third, 1);
    expect([first, second, third].map(({ isDestroyed }) => isDestroyed)).toEqual([
      false,
      true,
      false,
    ]);
    expect([backlog.length, backlog.evictedCount]).toEqual([61, 1]);
  });

  it("holds no more than its bound and one owner's bytes, however many come", () => {
    const backlog = create();
    for (let count = 0; count < 1_000; count += 1) {
      backlog.set(new Owner(), 30);
      expect(backlog.length).toBeLessThanOrEqual(100);
    }
    expect(backlog.evictedCount).toBe(997);
  });

  it("leaves one alone that holds too much by itself", () => {
    const backlog = create();
    const large = new Owner();
    backlog.set(large, 500);
    expect(large.isDestroyed).toBe(false);
    backlog.set(large, 0);
    backlog.set(large, 0);
    expect(backlog.length).toBe(0);
  });

  it("cuts off who has made no progress for so long, however little is held", () => {
    const backlog = create();
    const [stuck, moving] = [new Owner(), new Owner()];
    backlog.set(stuck, 1);
    backlog.set(moving, 50);
    now += 60;
    backlog.set(moving, 40);
    backlog.expire(61);
    expect(stuck.isDestroyed).toBe(false);
    backlog.expire(60);
    expect([stuck.isDestroyed, moving.isDestroyed, backlog.length]).toEqual([true, false, 40]);
  });
});
