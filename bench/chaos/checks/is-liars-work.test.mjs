import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesOf, bytesOfLie, createOther, PIECE_LENGTH } from "../liar/lying-source.mjs";
import { createContent } from "../schedule/content.mjs";
import { isLiarsWork } from "./is-liars-work.mjs";

const LENGTH = 2 * PIECE_LENGTH + 1_000;
const FLIPPED = "wrong bytes and their digest";
const content = createContent({ start: 1, name: "f", version: 0, length: LENGTH });
const other = createOther({ start: 1, content });
const truth = [0, 1, 2].map((number) => bytesOf(content, number));
const lie = (how, number) => bytesOfLie({ how, content, other }, number);

let directory;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "damselfly-liar-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function judge(pieces, { from = 0, end = LENGTH, hows = [FLIPPED, "another file"] } = {}) {
  const path = join(directory, "file");
  writeFileSync(path, Buffer.concat(pieces).subarray(from, end));
  return await isLiarsWork(path, { content, from, end }, { start: 1, hows });
}

describe("isLiarsWork", () => {
  it("knows what a liar has sent, among what is true", async () => {
    expect(await judge([truth[0], lie(FLIPPED, 1), truth[2]])).toBe(true);
    expect(await judge([lie("another file", 0), lie(FLIPPED, 1), truth[2]])).toBe(true);
    const part = { from: PIECE_LENGTH - 10, end: LENGTH - 10 };
    expect(await judge([truth[0], truth[1], lie("another file", 2)], part)).toBe(true);
  });

  it("takes no other wrong byte for a liar's", async () => {
    expect(await judge(truth)).toBe(false);
    const alsoWrong = Buffer.from(truth[2]);
    alsoWrong[7] ^= 1;
    expect(await judge([truth[0], lie(FLIPPED, 1), alsoWrong])).toBe(false);
    const half = lie("another file", 1).fill(truth[1].subarray(0, 1_000), 0, 1_000);
    expect(await judge([truth[0], half, truth[2]])).toBe(false);
    expect(await judge([truth[0], lie(FLIPPED, 1), truth[2].subarray(1)])).toBe(false);
    const hows = ["another file"];
    expect(await judge([truth[0], lie(FLIPPED, 1), truth[2]], { hows })).toBe(false);
  });
});
