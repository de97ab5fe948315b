import { describe, expect, it } from "vitest";
import { formatCommand, HELP, parseOptions } from "./options.mjs";

describe("parseOptions", () => {
  it("runs three minutes with six peers under a random start value unless told otherwise", () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({ minutes: 3, peers: 6, only: [], keep: false });
    expect(Number.isInteger(options.start)).toBe(true);
  });

  it("takes groups and kinds of faults", () => {
    expect(parseOptions(["--only", "kill,full-disk"]).only).toEqual(["kill", "full-disk"]);
  });

  it.each([
    [["--only", "earthquake"], /--only names earthquake/],
    [["--minutes", "0"], /--minutes is 0/],
    [["--start", "1.5"], /--start is 1.5, expected a whole number/],
    [["--peers", "1"], /--peers is 1/],
    [["--network", "pigeons"], /--network is pigeons/],
  ])("refuses %j", (parameters, message) => {
    expect(() => parseOptions(parameters)).toThrow(message);
  });

  it("names every option in the help", () => {
    for (const name of ["minutes", "start", "peers", "only", "network", "dir", "keep", "print"])
      expect(HELP).toContain(`--${name}`);
  });
});

describe("formatCommand", () => {
  it("says what parseOptions reads", () => {
    const options = parseOptions([
      "--start",
      "7",
      "--minutes",
      "0.5",
      "--only",
      "kill,link",
      "--network",
      "bridge",
    ]);
    const [, words] = formatCommand(options).split(" -- ");
    expect(parseOptions(words.split(" "))).toEqual(options);
  });
});
