// The bench as people run it, in small: it must measure everything that can be had here, with the right bytes. How fast is not asked.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assertWellFormed } from "./support/assert-well-formed.mjs";

const PROGRAM = fileURLToPath(new URL("bench.mjs", import.meta.url));

describe("npm run bench -- --quick", () => {
  let directory;
  let run;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "damselfly-bench-test-"));
    const [json, svg] = ["out.json", "out.svg"].map((name) => join(directory, name));
    const what = ["--quick", "--only", "loopback,memory", "--dir", directory];
    run = await bench(...what, "--json", json, "--svg", svg);
  }, 300_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("delivers the right bytes with every backend that can be had here", () => {
    expect(run.code, run.stderr).toBe(0);
    const { results, skipped } = readReport();
    const names = [...results, ...skipped].map(({ backend, name }) => backend ?? name);
    expect(names).toEqual(
      expect.arrayContaining(["quic-auto", "quiche-dgram", "tcp-tls", "tcp", "grpc-tls", "grpc"]),
    );
    for (const result of results) {
      expect(result).toMatchObject({
        path: "loopback",
        roundCount: 1,
        isWhole: true,
        failures: [],
      });
    }
  });

  it("writes every figure, with its command and machine", () => {
    const { command, machine, results, samples } = readReport();
    expect(command).toMatch(/^npm run bench -- --quick /);
    expect(machine).toMatchObject({ coreCount: expect.any(Number), node: process.version });
    expect(machine.commit).toMatch(/^[0-9a-f]{12}\+?$|^unknown$/);
    expect(samples.length).toBeGreaterThanOrEqual(results.length);
    const positive = ["rate", "seconds", "bytes", "newMs", "againMs", "pooledMs"];
    for (const result of results) {
      for (const field of positive)
        expect(result[field], `${result.backend} ${field}`).toBeGreaterThan(0);
      expect(result.peakBytes.server).toBeGreaterThan(2 ** 20);
      expect(result.cpuSecondsPerGb.client).toBeGreaterThan(0);
      expect(Object.keys(result.loadSeconds)).toContain("10 x 10 KB");
    }
    const base = results.find(({ backend }) => backend === "grpc-tls");
    expect(base.ratios).toEqual({ "grpc-tls": 1 });
  });

  it("shows them as a table and as a picture", () => {
    expect(run.stdout).toMatch(/^\$ npm run bench -- --quick/);
    for (const { backend } of readReport().results) expect(run.stdout).toContain(`  ${backend} `);
    const svg = readFileSync(join(directory, "out.svg"), "utf8");
    expect(() => assertWellFormed(svg)).not.toThrow();
    expect(svg.match(/<rect /g)).toHaveLength(readReport().results.length);
  });

  it("leaves nothing of its own behind", () => {
    expect(readdirSync(directory).toSorted()).toEqual(["out.json", "out.svg"]);
  });

  function readReport() {
    return JSON.parse(readFileSync(join(directory, "out.json"), "utf8"));
  }
});

describe("the bench in its other ways", () => {
  let directory;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "damselfly-bench-test-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.runIf(process.platform === "linux")(
    "moves a file between daemons",
    async () => {
      const json = join(directory, "file.json");
      const what = ["--quick", "--only", "loopback,file,quic-auto", "--dir", directory];
      const { code } = await bench(...what, "--json", json);
      expect(code).toBe(0);
      const { results } = JSON.parse(readFileSync(json, "utf8"));
      expect(results.map(({ backend }) => backend)).toEqual(["dfget-cold", "quic-auto"]);
      for (const result of results) expect(result).toMatchObject({ mode: "file", isWhole: true });
      expect(readdirSync(directory)).toEqual(["file.json"]);
    },
    300_000,
  );

  it.runIf(process.platform === "linux").each([
    [["--cold"], /8 MiB from a local origin .*\n.*x curl.*\n  curl .*\n  dfget /],
    [["--start"], /\n  node -e 0 .*\n  curl, 10 KB .*\n  dfget, 10 KB .*\n  dfget, on disk /],
    [["--footprint", "2"], /\n  idle .*\n  8 MiB .*\n  16 MiB /],
  ])(
    "measures one daemon with %j",
    async (what, table) => {
      const { code, stdout, stderr } = await bench("--quick", ...what, "--dir", directory);
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(table);
      expect(readdirSync(directory)).not.toContainEqual(expect.stringMatching(/bench/));
    },
    300_000,
  );

  it("counts what idle connections cost", async () => {
    const { code, stdout, stderr } = await bench("--quick", "--idle", "--dir", directory);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("20 idle connections, quic-auto");
  }, 300_000);
});

describe("the bench's command", () => {
  it("explains itself", async () => {
    const { code, stdout } = await bench("--help");
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: npm run bench");
    expect(stdout).not.toMatch(/\{[A-Z]+\}/);
  });

  it("refuses a name that it does not know", async () => {
    const { code, stderr } = await bench("--only", "moon");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^Cannot measure only moon: expected some of loopback/);
  });
});

async function bench(...parameters) {
  const child = spawn(process.execPath, [PROGRAM, ...parameters]);
  const outputs = { stdout: "", stderr: "" };
  for (const name of Object.keys(outputs)) {
    child[name].setEncoding("utf8").on("data", (text) => (outputs[name] += text));
  }
  const [code] = await once(child, "close");
  return { code, ...outputs };
}
