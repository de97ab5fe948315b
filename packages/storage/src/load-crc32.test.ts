import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { agrees, type Crc32, loadCrc32, loadNative } from "./load-crc32.ts";

const SAMPLE = Uint8Array.from(
  { length: 300_000 },
  (_, index) => (index * 31 + (index >> 9)) % 256,
);

describe("loadCrc32", () => {
  it.each([0, 1, 15, 16, 63, 64, 127, 128, 1_000, 16_384, 65_537, 299_000])(
    "has zlib's answers for %d bytes, wherever they begin and whatever was before them",
    (length) => {
      const compute = loadCrc32();
      for (const start of [0, 1, 3, 8, 999]) {
        for (const before of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
          const bytes = SAMPLE.subarray(start, start + length);
          const expected = length === 0 ? before : crc32(bytes, before);
          expect(compute(bytes, before)).toBe(expected);
        }
      }
    },
  );

  it("begins with nothing", () => {
    expect(loadCrc32()(new TextEncoder().encode("test content"))).toBe(1_475_635_037);
    expect(loadCrc32()(new Uint8Array())).toBe(0);
  });
});

describe("loadNative", () => {
  let directory: string;
  beforeEach(async () => void (directory = await mkdtemp(join(tmpdir(), "damselfly-crc32-"))));
  afterEach(() => rm(directory, { recursive: true }));

  it("is installed where we test", () => {
    expect(loadNative("@node-rs/crc32")).toBeTypeOf("function");
  });

  it("has nothing where there is no such package", () => {
    expect(loadNative("@damselfly/no-such-package")).toBeUndefined();
  });

  it.each([
    ["computes something else", "exports.crc32 = (bytes, value = 0) => value + bytes.length;"],
    ["computes nothing", "exports.crc64 = () => 0;"],
    ["cannot be loaded", "throw new Error('wrong ELF class');"],
    ["fails", "exports.crc32 = () => { throw new Error('illegal instruction'); };"],
  ])("has nothing of one that %s", async (_, code) => {
    const path = join(directory, "native.cjs");
    await writeFile(path, code);
    expect(loadNative(path)).toBeUndefined();
  });
});

describe("agrees", () => {
  it.each<[string, Crc32]>([
    ["forgets what was before", (bytes) => crc32(bytes)],
    ["is signed", (bytes, value) => crc32(bytes, value) | 0],
    [
      "begins with nothing when there is nothing more",
      (bytes, value) => (bytes.byteLength === 0 ? 0 : crc32(bytes, value)),
    ],
    ["is wrong for long ones", (bytes, value) => crc32(bytes.subarray(0, 4_096), value)],
  ])("is false of one that %s", (_, wrong) => {
    expect(agrees(wrong)).toBe(false);
  });
});
