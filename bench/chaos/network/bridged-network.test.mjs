import { describe, expect, it } from "vitest";
import { groupsOf } from "./bridged-network.mjs";

describe("groupsOf", () => {
  it("keeps everybody together while nobody is blocked", () => {
    expect(groupsOf(["a", "b", "c"], [])).toEqual([["a", "b", "c"]]);
  });

  it("puts one that is cut off on a bridge of its own, and halves on one each", () => {
    expect(
      groupsOf(
        ["a", "b", "c"],
        [
          ["b", "a"],
          ["b", "c"],
        ],
      ),
    ).toEqual([["a", "c"], ["b"]]);
    expect(
      groupsOf(
        ["a", "b", "c", "d"],
        [
          ["a", "b"],
          ["a", "d"],
          ["c", "b"],
          ["c", "d"],
        ],
      ),
    ).toEqual([
      ["a", "c"],
      ["b", "d"],
    ]);
  });
});
