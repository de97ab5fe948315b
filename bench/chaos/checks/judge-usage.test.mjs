import { describe, expect, it } from "vitest";
import { judgeGrowth, judgePeaks } from "./judge-usage.mjs";

const MIB = 2 ** 20;

describe("judgePeaks", () => {
  const sample = { atMs: 0, name: "peer-1", bytes: 100 * MIB, fileCount: 50 };

  it("takes what is within bounds, and names the worst of what is not, once", () => {
    expect(judgePeaks([sample])).toEqual([]);
    const large = [950, 990, 960].map((mib) => ({ ...sample, bytes: mib * MIB }));
    expect(judgePeaks([sample, ...large])).toEqual([
      expect.stringContaining(`peer-1 memory: ${990 * MIB}`),
    ]);
    expect(judgePeaks([{ ...sample, fileCount: 1_001 }])).toHaveLength(1);
    expect(judgePeaks([{ ...sample, name: "scheduler", bytes: 400 * MIB }])).toHaveLength(1);
  });
});

describe("judgeGrowth", () => {
  const first = { bytes: 200 * MIB, fileCount: 70, diskFileCount: 10 };

  it("compares the last checkpoint with the first", () => {
    expect(judgeGrowth([])).toEqual([]);
    expect(judgeGrowth([first])).toEqual([]);
    expect(judgeGrowth([first, { ...first, bytes: 300 * MIB }, first])).toEqual([]);
    expect(judgeGrowth([first, { bytes: 219 * MIB, fileCount: 90, diskFileCount: 24 }])).toEqual(
      [],
    );
    expect(judgeGrowth([first, { bytes: 221 * MIB, fileCount: 80, diskFileCount: 0 }])).toEqual([
      expect.stringContaining("memory grew"),
      "descriptors that are no files grew from 60 to 80",
    ]);
  });
});
