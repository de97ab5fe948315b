import { describe, expect, it } from "vitest";
import { parseOptions, selectNames } from "./options.mjs";

describe("the bench's command line", () => {
  it("has the path of the published figures as its default", () => {
    const { link, rounds } = parseOptions([]);
    expect(link).toMatchObject({ rttMs: 50, lossPercent: 1, rateMbit: 1000 });
    expect(rounds).toBe(5);
  });

  it("takes one round when it is to be quick", () => {
    expect(parseOptions(["--quick", "--rounds", "7"]).rounds).toBe(1);
  });

  it.each([
    ["--rounds", "0"],
    ["--rounds", "1.5"],
    ["--loss", "101"],
    ["--rtt", "soon"],
    ["--emulator", "wire"],
  ])("refuses %s %s, and says what it expected", (name, value) => {
    expect(() => parseOptions([name, value])).toThrow(/^Cannot take --\w+ .*: expected /);
  });

  it("refuses what it does not know", () => {
    expect(() => parseOptions(["--fast"])).toThrow(/--fast/);
  });

  it("leaves out everything else of a kind once one of it is named", () => {
    const known = { paths: ["near", "far"], modes: ["memory", "file"] };
    expect(selectNames(["far"], known)).toEqual({ paths: ["far"], modes: ["memory", "file"] });
    expect(selectNames([], known)).toEqual(known);
    expect(() => selectNames(["moon"], known)).toThrow(
      "Cannot measure only moon: expected some of near, far, memory, file",
    );
  });
});
