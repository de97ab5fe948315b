import { readFile } from "node:fs/promises";

import { describe, expect, it } from "vitest";

import { FLAGS } from "./flags.ts";
import { formatFlagTable, formatHelp } from "./format-help.ts";

describe("formatHelp", () => {
  it("explains every flag within the columns of a terminal", () => {
    const lines = formatHelp().split("\n");
    for (const { name } of FLAGS)
      expect(lines.filter((line) => line.includes(` --${name}`))).not.toEqual([]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(84);
  });
});

describe("formatFlagTable", () => {
  it("is what the README shows", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    expect(readme).toContain(formatFlagTable());
  });
});
