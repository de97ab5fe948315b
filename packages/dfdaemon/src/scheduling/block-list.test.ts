import { describe, expect, it } from "vitest";
import { EMPTY_BLOCK_LIST, parseBlockList, type BlockableDownload } from "./block-list.ts";

const HARMLESS: BlockableDownload = {
  url: "http://origin.test/file?x=1",
  tag: undefined,
  application: undefined,
  priority: "LEVEL0",
};

async function read(download: unknown): Promise<{
  blocks: (download: Partial<BlockableDownload>) => boolean;
  problems: string[];
}> {
  const problems: string[] = [];
  const list = await parseBlockList({ blockList: { task: { download } } }, (problem) =>
    problems.push(problem),
  );
  return { blocks: (asked) => list.blocks({ ...HARMLESS, ...asked }), problems };
}

describe("parseBlockList", () => {
  it("blocks by any of URL, tag, application and priority", async () => {
    const { blocks, problems } = await read({
      urls: ["^https?://evil\\.test/", "(?i)SECRET"],
      tags: ["nightly"],
      applications: ["toy"],
      priorities: [1, 3],
    });
    expect(problems).toEqual([]);
    expect(blocks({})).toBe(false);
    expect(blocks({ url: "http://evil.test/a" })).toBe(true);
    expect(blocks({ url: "http://good.test/http://evil.test" })).toBe(false);
    expect(blocks({ url: "http://good.test/secret/a" })).toBe(true);
    expect(blocks({ tag: "nightly" })).toBe(true);
    expect(blocks({ tag: "" })).toBe(false);
    expect(blocks({ application: "toy" })).toBe(true);
    expect(blocks({ priority: "LEVEL3" })).toBe(true);
    expect(blocks({ priority: "LEVEL2" })).toBe(false);
  });

  it("takes Dragonfly's other spelling, and lists that are null", async () => {
    const list = await parseBlockList(
      { block_list: { task: { download: { tags: ["a"], urls: null } }, persistent_task: null } },
      () => {},
    );
    expect(list.blocks({ ...HARMLESS, tag: "a" })).toBe(true);
    expect(list.blocks(HARMLESS)).toBe(false);
  });

  it.each([undefined, null, {}, { blockList: null }, { blockList: { task: null } }, { other: 1 }])(
    "blocks nothing when there are no rules: %j",
    async (config) => {
      expect(await parseBlockList(config, () => {})).toBe(EMPTY_BLOCK_LIST);
    },
  );

  it("leaves out a pattern that is none, and goes by the others", async () => {
    const { blocks, problems } = await read({ urls: ["(", "evil"], tags: ["a"] });
    expect(problems).toEqual([expect.stringContaining("Cannot use '(' of the block list")]);
    expect(blocks({ url: "http://evil.test" })).toBe(true);
    expect(blocks({ tag: "a" })).toBe(true);
  });

  it("blocks nothing when the rules are not what they should be, and says so", async () => {
    const { blocks, problems } = await read({ urls: "evil" });
    expect(problems).toEqual([expect.stringContaining("Cannot read block list")]);
    expect(blocks({ url: "http://evil.test" })).toBe(false);
  });

  it("takes no longer for a hostile URL", async () => {
    const { blocks } = await read({ urls: ["(a+)+$"] });
    expect(blocks({ url: `http://origin.test/${"a".repeat(50_000)}!` })).toBe(false);
  });
});
