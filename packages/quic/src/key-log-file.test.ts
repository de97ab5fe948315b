import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { prepareKeyLog } from "./key-log-file.ts";

let directory: string;
let warnings: string[];
const logger = {
  debug: () => {},
  warn: (_: object, message: string) => void warnings.push(message),
};
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "keys-"));
  warnings = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string): string => join(directory, name);

it("prepareKeyLog makes a file for its owner alone, and says what will be in it", () => {
  expect(prepareKeyLog(at("new.log"), logger)).toBe(at("new.log"));
  expect(statSync(at("new.log")).mode & 0o777).toBe(0o600);
  expect(warnings).toEqual([expect.stringMatching(/secrets of QUIC are written to .*new\.log/)]);
});

it("prepareKeyLog takes a file from others' eyes that is there, and leaves what is in it", () => {
  writeFileSync(at("old.log"), "CLIENT_RANDOM", { mode: 0o644 });
  expect(prepareKeyLog(at("old.log"), logger)).toBe(at("old.log"));
  expect(statSync(at("old.log"))).toMatchObject({ size: 13 });
  expect(statSync(at("old.log")).mode & 0o777).toBe(0o600);
});

it("prepareKeyLog writes nowhere that others could look, and says so", () => {
  writeFileSync(at("target"), "");
  symlinkSync(at("target"), at("link"));
  for (const path of [at("link"), directory, "/dev/null", at("no/such"), `${directory}\0`]) {
    warnings = [];
    expect(prepareKeyLog(path, logger)).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/are not written to/)]);
  }
});

it("prepareKeyLog does nothing unless it is asked to", () => {
  expect(prepareKeyLog(undefined, logger)).toBeUndefined();
  expect(warnings).toEqual([]);
});
