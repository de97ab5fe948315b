import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";

/*
 * docs/reliability.md promises things in tables of two columns, the second of which names who holds the promise: files, and the titles of
 * tests in them.
 */
const DOCUMENT = new URL("../docs/reliability.md", import.meta.url);
const text = await readFile(DOCUMENT, "utf8");

/** `[name](path) "title" "title"`; titles as they stand in the source, placeholders and all. */
const HOLDER = /\[[^\]]+\]\(([^)]+)\)((?:\s*"[^"]+")*)/g;

const promises = text
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| promise |"))
  .map((line) => {
    const [, promise = "", holders = ""] = line.split("|").map((cell) => cell.trim());
    return { promise, holders };
  });

describe("docs/reliability.md", () => {
  it("promises something", () => {
    expect(promises.length).toBeGreaterThan(40);
  });

  it.each(promises)("names the test that holds it: $promise", async ({ promise, holders }) => {
    expect(promise).toMatch(/[.]$/);
    const named = [...holders.matchAll(HOLDER)];
    expect(named, "no test is named").not.toEqual([]);
    for (const [, path = "", quoted = ""] of named) {
      const source = await readFile(new URL(path, DOCUMENT), "utf8");
      const titles = [...quoted.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title);
      expect(titles, `no title is named of ${path}`).not.toEqual([]);
      for (const title of titles) expect(source, `${path} has no such test`).toContain(title);
    }
  });
});
