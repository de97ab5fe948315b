import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  formatRevocation,
  loadRevocationList,
  parseRevocationList,
  REVOCATION_LIST_HEAD,
} from "./revocation-list.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "revoked-"));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

describe("parseRevocationList", () => {
  it("takes serial numbers however they are written, and each once", () => {
    const text = [
      REVOCATION_LIST_HEAD,
      "5A3B",
      "  00:5a:3b  # the same",
      "serial=0a # as openssl prints it",
      "",
      "\t",
      "# 77 is a remark",
      "C0FFEE\r",
      "1".repeat(40), // the longest
    ].join("\n");
    expect(parseRevocationList(text)).toEqual(["5A3B", "A", "C0FFEE", "1".repeat(40)]);
  });

  it("is empty for nothing", () => {
    expect(parseRevocationList("")).toEqual([]);
    expect(parseRevocationList(REVOCATION_LIST_HEAD)).toEqual([]);
  });

  it.each([
    ["5A3B\nn3", "line 2: it is no number in hex"],
    ["5A 3B", "line 1: it is no number in hex"],
    ["-5A", "line 1: it is no number in hex"],
    [`# list\n${"ab".repeat(32)}`, "line 2: it is a fingerprint, by which"],
    ["AB:".repeat(31) + "AB", "line 1: it is a fingerprint"],
    ["1".repeat(41), "line 1: it is longer than 20 bytes"],
    ["1".repeat(100_000), "line 1: it is longer than 20 bytes"],
  ])("refuses %j, naming the line", (text, message) => {
    expect(() => parseRevocationList(text)).toThrow(message);
  });

  it("reads what formatRevocation writes, whatever the remark", () => {
    const serial = fc
      .uint8Array({ minLength: 1, maxLength: 20 })
      .map((bytes) => Buffer.from(bytes).toString("hex"));
    fc.assert(
      fc.property(fc.array(fc.tuple(serial, fc.string({ unit: "binary" }))), (entries) => {
        const text = entries.map(([one, remark]) => formatRevocation(one, remark)).join("");
        const wanted = entries.map(([one]) => one.toUpperCase().replace(/^0+(?=.)/, ""));
        expect(parseRevocationList(text)).toEqual([...new Set(wanted)]);
      }),
    );
  });
});

describe("loadRevocationList", () => {
  it("names the file, its setting and the line", async () => {
    const path = join(dir, "bad.txt");
    await writeFile(path, "5A\nnonsense");
    await expect(loadRevocationList(path, "security.revoked")).rejects.toMatchObject({
      code: "ERR_SETTINGS_TLS",
      message: `Cannot use the list of revoked certificates ${path} (security.revoked): line 2: it is no number in hex, expected a serial number`,
    });
  });

  it("wants the file to be there, and no larger than a list is", async () => {
    const missing = join(dir, "missing.txt");
    await expect(loadRevocationList(missing, "security.revoked")).rejects.toThrow(/ENOENT/);
    const large = join(dir, "large.txt");
    await writeFile(large, `5A\n${"#".repeat(4 * 2 ** 20 - 3)}`);
    expect(await loadRevocationList(large, "security.revoked")).toMatchObject({ serials: ["5A"] });
    for (const length of [4 * 2 ** 20 + 1, 2 ** 40]) {
      await truncate(large, length);
      await expect(loadRevocationList(large, "security.revoked")).rejects.toThrow(
        `it has ${length} bytes, expected at most 4194304`,
      );
    }
  });
});
