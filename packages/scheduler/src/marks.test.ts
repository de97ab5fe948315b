import { describe, expect, it } from "vitest";
import { Marks } from "./marks.ts";

describe("Marks", () => {
  it("keeps as many as it may, and begins anew with one more, however many come", () => {
    const marks = new Marks<object, number>(3);
    const keys = Array.from({ length: 1_000 }, () => ({}));
    for (const [index, key] of keys.slice(0, 3).entries()) marks.set(key, index);
    expect(keys.slice(0, 3).map((key) => marks.get(key))).toEqual([0, 1, 2]);
    marks.set(keys[0]!, 7);
    expect(marks.size).toBe(3);
    marks.set(keys[3]!, 3);
    expect(marks.size).toBe(1);
    expect(marks.has(keys[0]!)).toBe(false);
    for (const key of keys) marks.set(key, 0);
    expect(marks.size).toBeLessThanOrEqual(3);
  });

  it("forgets what it is told to", () => {
    const marks = new Marks<object, number>();
    const key = {};
    marks.set(key, 1);
    marks.delete(key);
    marks.delete(key);
    expect(marks.get(key)).toBeUndefined();
    expect(marks.size).toBe(0);
    marks.set(key, 2);
    marks.clear();
    expect(marks.has(key)).toBe(false);
  });
});
