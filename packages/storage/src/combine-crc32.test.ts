import { crc32 } from "node:zlib";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { combineCrc32 } from "./combine-crc32.ts";

describe("combineCrc32", () => {
  it("says of any parts what is true of the whole", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (parts) => {
        const combined = combineCrc32(
          parts.map((bytes) => ({
            crc32: bytes.byteLength === 0 ? 0 : crc32(bytes),
            length: bytes.byteLength,
          })),
        );
        const whole = Buffer.concat(parts);
        expect(combined).toBe(whole.byteLength === 0 ? 0 : crc32(whole));
      }),
    );
  });

  it("knows parts that are longer than 32 bits can say", () => {
    // The CRC-32 of nothing but zeros behind a byte is that of the byte, moved: in two steps and in one.
    const zeros = (length: number): number => combineCrc32([{ crc32: 0, length }]);
    expect(zeros(2 ** 40)).toBe(0);
    const first = { crc32: 0x12_34_56_78, length: 1 };
    const parts = Array.from({ length: 4 }, () => ({ crc32: 0, length: 2 ** 33 }));
    expect(combineCrc32([first, ...parts])).toBe(
      combineCrc32([first, { crc32: 0, length: 2 ** 35 }]),
    );
  });
});
