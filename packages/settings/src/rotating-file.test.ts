import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { chmod, mkdtemp, mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openRotatingFile } from "./rotating-file.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-log-"));
  path = join(directory, "x.log");
});
afterEach(async () => {
  await chmod(directory, 0o700);
  await rm(directory, { recursive: true });
});

const noTrouble = (message: string): never => {
  throw new Error(message);
};

/** Everything that is there, the oldest line first. */
function written(): string {
  return readdirSync(directory)
    .toSorted((left, right) => Number(right.split(".")[2] ?? 0) - Number(left.split(".")[2] ?? 0))
    .map((name) => readFileSync(join(directory, name), "utf8"))
    .join("");
}

describe("openRotatingFile", () => {
  it("has every line in the kernel's hands before it returns, also at a rotation", () => {
    const file = openRotatingFile({ path, lengthMax: 64, olderFilesMax: 50, onTrouble: noTrouble });
    let expected = "";
    for (let number = 0; number < 100; number++) {
      file.write(`line ${number}\n`);
      expected += `line ${number}\n`;
      // Nothing has been awaited: a process that was killed here would have left the same.
      expect(written()).toBe(expected);
      expect(readFileSync(path, "utf8")).toContain(`line ${number}\n`);
    }
  });

  it("keeps so many full files and no more, none longer than asked for, each with whole lines", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom("a", "é", "€"), maxLength: 30 }), {
          maxLength: 40,
        }),
        fc.integer({ min: 1, max: 4 }),
        (texts, olderFilesMax) => {
          const at = join(directory, `${Math.random()}.log`);
          const file = openRotatingFile({
            path: at,
            lengthMax: 100,
            olderFilesMax,
            onTrouble: noTrouble,
          });
          for (const text of texts) file.write(`${text}\n`);
          const names = [at, ...Array.from({ length: 9 }, (_, age) => `${at}.${age + 1}`)];
          const there = names.filter((name) => existsSync(name));
          expect(there.length).toBeLessThanOrEqual(1 + olderFilesMax);
          for (const name of there) expect(statSync(name).size).toBeLessThanOrEqual(100);
          const lines = there
            .toReversed()
            .map((name) => readFileSync(name, "utf8"))
            .join("");
          expect(
            texts
              .map((text) => `${text}\n`)
              .join("")
              .endsWith(lines),
          ).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("goes on with the file of an earlier run, and counts what is in it", () => {
    const options = { path, lengthMax: 20, olderFilesMax: 2, onTrouble: noTrouble };
    openRotatingFile(options).write("0123456789\n");
    const file = openRotatingFile(options);
    file.write("abcdef\n");
    expect(existsSync(`${path}.1`)).toBe(false);
    file.write("ghijkl\n");
    expect(readFileSync(`${path}.1`, "utf8")).toBe("0123456789\nabcdef\n");
    expect(readFileSync(path, "utf8")).toBe("ghijkl\n");
  });

  it("shows its files to the owner and the group only", () => {
    const file = openRotatingFile({ path, lengthMax: 5, olderFilesMax: 1, onTrouble: noTrouble });
    for (const line of ["1234\n", "5678\n"]) file.write(line);
    for (const name of [path, `${path}.1`]) expect(statSync(name).mode & 0o137).toBe(0);
  });

  it("writes on where it cannot rotate, and says so once", async () => {
    const messages: string[] = [];
    const file = openRotatingFile({
      path,
      lengthMax: 5,
      olderFilesMax: 1,
      onTrouble: (message) => messages.push(message),
    });
    file.write("1234\n");
    // A directory in the way, which no file can replace.
    await mkdir(join(`${path}.1`, "in the way"), { recursive: true });
    file.write("5678\n");
    file.write("9abc\n");
    expect(readFileSync(path, "utf8")).toBe("1234\n5678\n9abc\n");
    expect(messages[0]).toMatch(/^Cannot begin a new log after .*x\.log: EISDIR|ENOTEMPTY/);
  });

  it("outlives a disk without room", () => {
    if (!existsSync("/dev/full")) return;
    const messages: string[] = [];
    const file = openRotatingFile({
      path: "/dev/full",
      lengthMax: 1e9,
      olderFilesMax: 1,
      onTrouble: (message) => messages.push(message),
    });
    for (let number = 0; number < 3; number++) file.write(`${"x".repeat(700_000)}\n`);
    expect(messages).toEqual([expect.stringMatching(/^Cannot write the log \/dev\/full: ENOSPC/)]);
  });
});
