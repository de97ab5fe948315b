import { describe, expect, it } from "vitest";
import { countBytes } from "./count-bytes.ts";

describe("countBytes", () => {
  it("passes every chunk on, counted before", async () => {
    const counts: number[] = [];
    const seen: number[] = [];
    for await (const chunk of countBytes(chunks().content, (length) => counts.push(length))) {
      expect(counts).toHaveLength(seen.length + 1);
      seen.push(chunk.byteLength);
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(counts).toEqual(seen);
  });

  it.each([0, 1])("closes the content when it is left after %d chunks", async (count) => {
    const source = chunks();
    const counted = countBytes(source.content, () => undefined);
    for (let index = 0; index < count; index++) await counted.next();
    expect(await counted.return?.()).toEqual({ done: true, value: undefined });
    expect(source.closedCount()).toBe(1);
  });

  it("throws what the content throws", async () => {
    const failure = new Error("reset by peer");
    const failing = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failure) }) };
    await expect(countBytes(failing, () => undefined).next()).rejects.toBe(failure);
  });
});

function chunks(): { content: AsyncIterable<Uint8Array>; closedCount: () => number } {
  let closedCount = 0;
  let length = 0;
  const content: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        length += 1;
        if (length > 3) return { done: true, value: undefined };
        return { done: false, value: new Uint8Array(length) };
      },
      async return() {
        closedCount += 1;
        return { done: true, value: undefined };
      },
    }),
  };
  return { content, closedCount: () => closedCount };
}
