import { describe, expect, it } from "vitest";
import { parseOptions } from "./parse-options.ts";
import { TARGET_NAMES } from "./targets.ts";

describe("parseOptions", () => {
  it("runs every target in its usual count where nothing is said", () => {
    expect(parseOptions([])).toMatchObject({
      targets: TARGET_NAMES,
      size: "usual",
      count: undefined,
      start: undefined,
      isGuided: true,
      isKeeping: false,
    });
  });

  it("takes targets, counts, seconds and a start value", () => {
    const args = ["--target", "vortex,config", "--count", "5", "--seconds", "6", "--start", "7"];
    expect(parseOptions([...args, "--unguided", "--full"])).toMatchObject({
      targets: ["vortex", "config"],
      size: "full",
      count: 5,
      seconds: 6,
      start: 7,
      isGuided: false,
    });
  });

  it.each([
    [["--target", "nothing"], "there is no such target, expected vortex"],
    [["--count", "many"], "Cannot use --count many: a whole number is needed"],
    [["--replay", "file"], "Cannot replay: one --target is needed"],
    [["--fast"], "Unknown option '--fast'"],
  ])("refuses %s", (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
