import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CONTENT_DAMAGES, JOURNAL_DAMAGES } from "../schedule/fault-kinds.mjs";
import { createContent } from "../schedule/content.mjs";
import { damageFile } from "./damage-file.mjs";

const LENGTH = 9 * 2 ** 20;
const bytes = Buffer.concat([
  ...createContent({ start: 1, name: "f", version: 0, length: LENGTH }).parts(),
]);

let directory;
let path;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "damselfly-damage-"));
  path = join(directory, "file");
  writeFileSync(path, bytes);
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("damageFile", () => {
  it.each([...new Set([...CONTENT_DAMAGES, ...JOURNAL_DAMAGES])])(
    "leaves a file that is another one, when it is to %s",
    async (how) => {
      const words = await damageFile(path, { how, place: 0.5, length: 5_000 });
      expect(words).toMatch(/\d/);
      expect(readFileSync(path).equals(bytes)).toBe(false);
    },
  );

  it("sets the time back when it is told to", async () => {
    const { mtimeMs } = statSync(path);
    await damageFile(path, { how: "zero", place: 0, length: 10, keepsTime: true });
    expect(Math.abs(statSync(path).mtimeMs - mtimeMs)).toBeLessThan(1);
    await damageFile(path, { how: "zero", place: 0, length: 10 });
    expect(statSync(path).mtimeMs).toBeGreaterThanOrEqual(mtimeMs);
  });

  it("puts another file in the place of one without two pieces to swap", async () => {
    writeFileSync(path, bytes.subarray(0, 1000));
    const { ino } = statSync(path);
    await damageFile(path, { how: "swap", place: 0, length: 1 });
    expect(statSync(path).ino).not.toBe(ino);
    expect(readFileSync(path).equals(bytes.subarray(0, 1000))).toBe(true);
  });
});
