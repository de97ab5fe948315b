import { describe, expect, it } from "vitest";
import { OTHER, TaskLabeler, taskSizeLevel } from "./task-labels.ts";

const DOWNLOAD = { type: "STANDARD", priority: "LEVEL6" } as const;

describe("TaskLabeler", () => {
  it("gives Dragonfly's numbers, and the callers' names", () => {
    const labeler = new TaskLabeler();
    const named = { ...DOWNLOAD, tag: "t", application: "a" };
    expect(labeler.labelsOf(named)).toEqual({ type: "0", tag: "t", app: "a", priority: "6" });
    expect(labeler.labelsOf({ type: "CACHE", priority: "LEVEL0" })).toEqual({
      type: "3",
      tag: "",
      app: "",
      priority: "0",
    });
  });

  it("counts callers together who invent too many names, or too long ones", () => {
    const labeler = new TaskLabeler();
    const tags = new Set<string>();
    for (let number = 0; number < 10_000; number++)
      tags.add(labeler.labelsOf({ ...DOWNLOAD, tag: `tag ${number}` }).tag);
    expect(tags.size).toBe(101);
    expect(labeler.labelsOf({ ...DOWNLOAD, tag: "tag 7" }).tag).toBe("tag 7");
    expect(labeler.labelsOf({ ...DOWNLOAD, tag: "new" })).toMatchObject({ tag: OTHER, app: OTHER });
    labeler.reset();
    expect(labeler.labelsOf({ ...DOWNLOAD, tag: "new" }).tag).toBe("new");
    expect(labeler.labelsOf({ ...DOWNLOAD, tag: "x".repeat(129) }).tag).toBe(OTHER);
  });
});

describe("taskSizeLevel", () => {
  const [MIB, GIB, TIB] = [2 ** 20, 2 ** 30, 2 ** 40];
  it.each([
    [0, "0"],
    [1, "1"],
    [MIB - 1, "1"],
    [MIB, "2"],
    [4 * MIB, "3"],
    [8 * MIB, "4"],
    [512 * MIB, "10"],
    [GIB, "11"],
    [2 * GIB, "11"],
    [4 * GIB, "12"],
    [512 * GIB, "19"],
    [TIB - 1, "19"],
    [TIB, "20"],
    [5 * TIB, "20"],
  ])("of %d bytes is %s", (length, level) => expect(taskSizeLevel(length)).toBe(level));
});
