import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MessageTally } from "./message-tally.ts";

function framed(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

describe("MessageTally", () => {
  it("says what is unfinished, byte by byte", () => {
    const tally = new MessageTally();
    expect([tally.isWhole, tally.unfinishedLength]).toEqual([false, 0]);
    const seen = [...framed(2), ...framed(0)].map((byte) => {
      tally.push(Uint8Array.of(byte));
      return tally.unfinishedLength;
    });
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 0]);
    expect([tally.isWhole, tally.length]).toEqual([true, 12]);
  });

  it("counts the same however the bytes are cut", () => {
    const lengths = fc.array(fc.constantFrom(0, 1, 2, 255, 256, 70_000), { maxLength: 6 });
    const cuts = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1 });
    fc.assert(
      fc.property(lengths, fc.nat(70_004), cuts, (whole, rest, sizes) => {
        const unfinished = framed(70_000).subarray(0, rest);
        const bytes = Buffer.concat([...whole.map(framed), unfinished]);
        const tally = new MessageTally();
        for (let at = 0, count = 0; at < bytes.byteLength; count += 1) {
          const size = sizes[count % sizes.length]!;
          tally.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect([tally.length, tally.unfinishedLength]).toEqual([bytes.byteLength, rest]);
      }),
    );
  });
});
