import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createContent } from "../schedule/content.mjs";
import { compareContent } from "./compare-content.mjs";

const LENGTH = 2 * 2 ** 20 + 3;
const versions = [0, 1].map((version) =>
  createContent({ start: 1, name: "file", version, length: LENGTH }),
);
const whole = (content) => ({ content, from: 0, end: content.length });
const bytesOf = (content) => Buffer.concat([...content.parts()]);

let directory;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "damselfly-compare-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function compare(bytes, candidates = versions.map(whole), options) {
  const path = join(directory, "file");
  writeFileSync(path, bytes);
  return await compareContent(path, candidates, options);
}

describe("compareContent", () => {
  it("tells which version a file is", async () => {
    const { matches } = await compare(bytesOf(versions[1]));
    expect(matches.map(({ content }) => content.version)).toEqual([1]);
  });

  it("tells a mix of two versions, and where it changes", async () => {
    const mix = Buffer.concat([
      bytesOf(versions[0]).subarray(0, 2 ** 20),
      bytesOf(versions[1]).subarray(2 ** 20),
    ]);
    const { matches, description } = await compare(mix);
    expect(matches).toEqual([]);
    expect(description).toContain("0-1048575 is version 0, 1048576-2097154 is version 1");
  });

  it("calls a version that the file may not be by its name", async () => {
    const [old, present] = versions.map(whole);
    const { matches, description } = await compare(bytesOf(versions[0]), [present], {
      known: [old],
    });
    expect(matches).toEqual([]);
    expect(description).toContain(`0-${LENGTH - 1} is version 0`);
  });

  it.each([
    ["one other bit", (bytes) => (bytes[LENGTH - 1] ^= 1), /is nobody's$/],
    ["zeros", (bytes) => bytes.fill(0, 2 ** 20), /1048576-2097154 is zeros$/],
  ])("sees %s", async (_, damage, description) => {
    const bytes = bytesOf(versions[0]);
    damage(bytes);
    expect(await compare(bytes)).toMatchObject({
      matches: [],
      description: expect.stringMatching(description),
    });
  });

  it("takes neither a file that ends early nor one that goes on, unless it may end early", async () => {
    const bytes = bytesOf(versions[0]);
    expect((await compare(bytes.subarray(0, -1))).matches).toEqual([]);
    expect((await compare(Buffer.concat([bytes, Buffer.from("x")]))).matches).toEqual([]);
    const options = { isPrefix: true };
    expect((await compare(bytes.subarray(0, -1), undefined, options)).matches).toHaveLength(1);
    expect((await compare(Buffer.alloc(0), undefined, options)).matches).toHaveLength(2);
  });

  it("compares a part of a file, and an empty one", async () => {
    const [content] = versions;
    const part = { content, from: 1000, end: 1_200_000 };
    expect((await compare(bytesOf(content).subarray(1000, 1_200_000), [part])).matches).toEqual([
      part,
    ]);
    const empty = whole(createContent({ start: 1, name: "empty", version: 0, length: 0 }));
    expect((await compare(Buffer.alloc(0), [empty])).matches).toEqual([empty]);
  });
});
