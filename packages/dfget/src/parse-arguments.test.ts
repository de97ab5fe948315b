import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { DfgetError } from "./errors.ts";
import { FLAGS } from "./flags.ts";
import type { DownloadOptions } from "./options.ts";
import { parseArguments } from "./parse-arguments.ts";

const base = ["https://example.com/f", "-O", "out"];

function options(argv: readonly string[], env: Record<string, string> = {}): DownloadOptions {
  const command = parseArguments(argv, env);
  if (command.kind !== "download") throw new Error(command.kind);
  return command.options;
}

describe("parseArguments", () => {
  it("fills in Dragonfly's defaults", () => {
    expect(options(base)).toMatchObject({
      url: "https://example.com/f",
      output: "out",
      timeoutMs: 7_200_000,
      priority: "6",
      schedulingPolicy: "auto",
      tag: "",
      application: "",
      pieceLength: undefined,
      endpoint: undefined,
      startDaemon: true,
      progress: true,
      overwrite: false,
      header: {},
    });
    expect(options(base).filteredQueryParams).toHaveLength(30);
    expect(options(base).filteredQueryParams).toContain("X-Amz-Signature");
  });

  it("takes flags in any place and form", () => {
    expect(
      options(["--output=a b", "-Hx:1", "https://example.com/f", "--no-progress", "-p3"]),
    ).toMatchObject({
      output: "a b",
      header: { x: "1" },
      progress: false,
      priority: "3",
    });
  });

  it("takes values that begin with a dash where they make sense", () => {
    expect(options([...base, "--range", "-500"]).range).toEqual({ kind: "last", length: 500 });
    expect(options(["https://example.com/f", "-O", "-"]).output).toBe("-");
  });

  it("accepts an endpoint as path and as unix URL", () => {
    for (const endpoint of ["/run/d.sock", "unix:/run/d.sock", "unix:///run/d.sock"]) {
      expect(options([...base, "-e", endpoint]).endpoint).toBe("/run/d.sock");
    }
  });

  it("reads variables, and lets flags win over them", () => {
    const env = {
      DFGET_TIMEOUT: "5s",
      DFGET_TAG: "env",
      DFGET_OVERWRITE: "true",
      DFGET_NO_PROGRESS: "0",
      DFGET_PRIORITY: "",
    };
    expect(options(base, env)).toMatchObject({
      timeoutMs: 5000,
      tag: "env",
      overwrite: true,
      progress: true,
      priority: "6",
    });
    expect(options([...base, "--tag", "flag", "--timeout", "6s"], env)).toMatchObject({
      timeoutMs: 6000,
      tag: "flag",
    });
  });

  it.each([
    [[], "no URL was given"],
    [["https://example.com/f"], "no output was given"],
    [["https://example.com/f", "-O", ""], "Cannot read -O: its value is empty"],
    [[...base, "more"], "'more' is one argument too many"],
    [["ftp://example.com/f", "-O", "out"], "expected http or https: 'ftp' is not supported"],
    [["example.com/f", "-O", "out"], "expected an absolute URL"],
    [["https://example.com", "-O", "out"], "it names a directory"],
    [["https://example.com/d/?x=1", "-O", "out"], "it names a directory"],
    [[...base, "--output", "again"], "Cannot read --output: it was given twice"],
    [
      ["https://example.com/f", "-O", "--overwrite"],
      "Cannot read -O: it needs a value, expected -O FILE",
    ],
    [[...base, "--tag"], "Cannot read --tag: it needs a value"],
    [[...base, "--overwrite=yes"], "Cannot read --overwrite: it takes no value"],
    [[...base, "--overwirte"], "did you mean --overwrite?"],
    [[...base, "--time-out", "3s"], "did you mean --timeout?"],
    [[...base, "--qqqqqq"], "Cannot use --qqqqqq: there is no such flag"],
    [[...base, "-x"], "Cannot use -x: there is no such flag"],
    [[...base, "-r"], "Cannot use -r: directories cannot be downloaded"],
    [[...base, "--recursive"], "directories cannot be downloaded"],
    [[...base, "--storage-region", "eu"], "object storage is not supported"],
    [[...base, "--hf-token", "t"], "model hubs are not supported"],
    [[...base, "--hdfs-delegation-token=x"], "HDFS is not supported"],
    [[...base, "-p", "7"], "Cannot read --priority: it is '7', expected 0, 1, 2, 3, 4, 5, 6"],
    [[...base, "--scheduling-policy", "never"], "expected auto, always"],
    [[...base, "--timeout", "5"], "expected a number and a unit"],
    [[...base, "--timeout", "0s"], "expected 1ms to 24d"],
    [[...base, "--piece-length", "4mb"], "expected at least 4mib"],
    [[...base, "--digest", "md5:abc"], "expected sha256:…, sha512:… or crc32:…"],
    [[...base, "--digest", "sha256:abc"], "expected 64 hex digits"],
    [[...base, "--digest", "crc32:deadbeef"], "expected a decimal number"],
    [[...base, "--range", "5"], "expected A-B, A- or -N"],
    [[...base, "--range", "9-5"], "expected an end that is not before the start"],
    [
      [...base, "--range", "0-9", "--digest", `sha256:${"0".repeat(64)}`],
      "Cannot use --digest with --range",
    ],
    [
      [...base, "--force-hard-link", "--transfer-from-dfdaemon"],
      "Cannot use --force-hard-link with --transfer-from-dfdaemon",
    ],
    [
      ["https://example.com/f", "-O", "-", "--force-hard-link"],
      "Cannot use --force-hard-link with -O -",
    ],
    [[...base, "-H", "no colon"], "expected 'Key: value'"],
    [[...base, "-H", "a: b\r\nc: d"], "expected a value without control characters"],
    [[...base, "-H", "Range: bytes=0-1"], "expected --range for that"],
  ])("refuses %j", (argv, message) => {
    expect(() => options(argv)).toThrow(
      expect.objectContaining({ code: "ERR_USAGE", message: expect.stringContaining(message) }),
    );
  });

  it("names the variable that is wrong", () => {
    expect(() => options(base, { DFGET_INSECURE: "maybe" })).toThrow(
      "Cannot read DFGET_INSECURE: it is 'maybe', expected true or false",
    );
    expect(() => options(base, { DFGET_TIMEOUT: "x" })).toThrow("Cannot read DFGET_TIMEOUT");
  });

  it("puts help and version before everything that is wrong", () => {
    expect(parseArguments(["-p", "9", "-h"], {})).toEqual({ kind: "help" });
    expect(parseArguments(["--version"], {})).toEqual({ kind: "version" });
  });

  it("sends the URL as WHATWG writes it", () => {
    expect(options(["HTTP://Example.COM:80/a/../b c?q", "-O", "out"]).url).toBe(
      "http://example.com/b%20c?q",
    );
  });

  it("either understands a command line or says what is wrong with it", () => {
    const word = fc.oneof(
      fc.constantFrom(...FLAGS.map(({ name }) => `--${name}`), "-O", "-H", "-", "--", ...base),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (argv) => {
        try {
          parseArguments(argv, {});
        } catch (error) {
          expect(error).toBeInstanceOf(DfgetError);
        }
      }),
    );
  });
});
