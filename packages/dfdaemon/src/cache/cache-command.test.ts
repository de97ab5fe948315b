import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "../testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "../testing/running-daemon.ts";
import { runCacheCommand } from "./cache-command.ts";

const CONTENT = seededContent(300_000);
let origin: OriginServer;
let bench: DaemonBench;
let daemon: DaemonInTest;

beforeEach(async () => {
  origin = await openOriginServer();
  bench = await openDaemonBench();
  daemon = await bench.start("node", { "storage.scrubRate": 0 });
});

afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...argv: string[]): Promise<Outcome> {
  const written = { out: "", err: "" };
  const code = await runCacheCommand(argv, {
    stdout: { write: (text) => void (written.out += text) },
    stderr: { write: (text) => void (written.err += text) },
    env: {},
  });
  return { code, ...written };
}

/** With the daemon of this test. */
function ask(...argv: string[]): Promise<Outcome> {
  return run(...argv, "--socket", daemon.socketPath);
}

/** Downloads a file, and returns its id. */
async function fetch(name: string, fields: { outputPath?: string } = {}): Promise<string> {
  origin.set(`/${name}`, { content: CONTENT });
  await using client = createDfdaemonDownloadClient(daemon);
  let taskId = "";
  const download = { url: `${origin.url}/${name}?token=secret`, ...fields };
  for await (const response of client.downloadTask({ download })) ({ taskId } = response);
  // What comes after the last byte is nobody's business but its own.
  await expect.poll(async () => (await ask("list")).out).not.toContain("in use");
  return taskId;
}

describe("dfdaemon cache list", () => {
  it("shows what is there, least recently used first, and how full it is", async () => {
    const outputPath = join(bench.directory, "output");
    const ids = [await fetch("first", { outputPath }), await fetch("second")];
    const { code, out } = await ask("list");
    expect(code).toBe(0);
    const [header, ...lines] = out.trimEnd().split("\n");
    expect(header).toMatch(/^TASK +SIZE +ON DISK +USED +STATE +URL$/);
    expect(lines[0]).toMatch(
      new RegExp(`^${ids[0]?.slice(0, 16)} +293.0 KiB +\\d{3}\\.\\d KiB +just now +linked +http`),
    );
    expect(lines[1]).toContain(ids[1]?.slice(0, 16));
    expect(lines[2]).toMatch(
      /^2 tasks, \S+ \S+; the disk is \d+ % full: evicts from 80 % on, down to 60 %, and what nobody uses for 30 d$/,
    );
    expect(out).not.toContain("secret");
  });

  it("is for programs with --json", async () => {
    const taskId = await fetch("first");
    const { out } = await ask("list", "--json");
    expect(JSON.parse(out)).toMatchObject({
      tasks: [
        {
          taskId,
          contentLength: CONTENT.length,
          pieceCount: 1,
          presentPieceCount: 1,
          pinned: false,
          problem: "",
          usedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        },
      ],
      state: { highPercent: 80, lowPercent: 60, quotaBytes: 0 },
    });
    expect(out).not.toContain("secret");
  });

  it("says that there is nothing", async () => {
    expect((await ask("list")).out).toMatch(/^0 tasks, /);
  });
});

describe("dfdaemon cache pin, unpin and rm", () => {
  it("keep a task named by its URL or the first digits of its id, until it is unpinned", async () => {
    const taskId = await fetch("first");
    const url = `${origin.url}/first?token=secret`;
    expect(await ask("pin", url)).toEqual({ code: 0, out: `pinned ${taskId}\n`, err: "" });
    expect((await ask("list")).out).toContain("pinned");
    expect(await ask("rm", taskId.slice(0, 6))).toEqual({
      code: 1,
      out: "",
      err: `dfdaemon cache: Cannot remove ${taskId}: it is pinned, expected --force\n`,
    });
    expect((await ask("unpin", taskId)).out).toBe(`unpinned ${taskId}\n`);
    expect((await ask("rm", taskId)).out).toBe(`removed ${taskId}\n`);
    expect((await ask("list")).out).toMatch(/^0 tasks/);
  });

  it("leave the files that users have", async () => {
    const outputPath = join(bench.directory, "output");
    const taskId = await fetch("first", { outputPath });
    await ask("pin", taskId);
    expect((await ask("rm", taskId, "--force")).code).toBe(0);
    const sha256 = createHash("sha256").update(await readFile(outputPath));
    expect(sha256.digest("hex")).toBe(createHash("sha256").update(CONTENT).digest("hex"));
  });

  it("do nothing at all when one of several is not here, or not one", async () => {
    const [first] = [await fetch("first"), await fetch("second")];
    const missing = await ask("pin", first, "ffff0000");
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining("it is not here") });
    expect((await ask("list")).out).not.toContain("pinned");
    const unknownUrl = await ask("rm", "http://elsewhere.invalid/?token=x");
    expect(unknownUrl.err).toBe(
      "dfdaemon cache: Cannot find that URL in the cache: it is not here\n",
    );
    expect((await ask("rm", "abc")).err).toContain("at least four of its first digits");
  });

  it("ask which one is meant when a URL was read under several ids", async () => {
    const ids = [await fetch("first")];
    origin.set("/first", { content: CONTENT });
    await using client = createDfdaemonDownloadClient(daemon);
    const download = { url: `${origin.url}/first?token=secret`, tag: "other" };
    for await (const { taskId } of client.downloadTask({ download })) ids[1] = taskId;
    const { code, err } = await ask("rm", `${origin.url}/first?token=secret`);
    expect(code).toBe(1);
    for (const id of ids) expect(err).toContain(id.slice(0, 16));
  });
});

describe("dfdaemon cache gc", () => {
  it("shows what it would evict, and evicts it", async () => {
    daemon = await bench.start("small", {
      "gc.policy.diskThreshold": "700000",
      "gc.policy.diskHighThresholdPercent": 80,
      "gc.policy.diskLowThresholdPercent": 50,
    });
    const first = await fetch("first");
    await fetch("second");
    const preview = await ask("gc", "--dry-run");
    expect(preview.out).toMatch(
      new RegExp(
        `^would evict ${first.slice(0, 16)}  \\S+ KiB  to make room\\n1 task; would give the disk \\S+ KiB\\n$`,
      ),
    );
    expect((await ask("list")).out).toContain(first.slice(0, 16));
    const done = await ask("gc", "--json");
    expect(JSON.parse(done.out)).toMatchObject({
      dryRun: false,
      evicted: [{ taskId: first, reason: "room" }],
      shortBytes: 0,
    });
    const list = (await ask("list")).out;
    expect(list).not.toContain(first.slice(0, 16));
    expect(list).toMatch(/\d+ % of its 683.6 KiB: evicts from 80 % on, down to 50 %/);
    expect((await ask("gc")).out).toBe("nothing to evict\n");
  });

  it("makes room for a download that does not fit, and refuses one that never will", async () => {
    daemon = await bench.start("small", { "gc.policy.diskThreshold": "700000" });
    const first = await fetch("first");
    await fetch("second");
    await ask("pin", first);
    await fetch("third");
    expect((await ask("list")).out).toContain("2 tasks");
    await ask("pin", `${origin.url}/third?token=secret`);
    await expect(fetch("fourth")).rejects.toThrow(/the quota of 700000 bytes has \d+ left/);
  });
});

describe("dfdaemon cache", () => {
  it("finds the socket in the settings", async () => {
    const directory = await mkdtemp(join(tmpdir(), "damselfly-cache-"));
    try {
      const config = join(directory, "dfdaemon.yaml");
      const { socketPath } = daemon;
      await writeFile(
        config,
        `download: { server: { socketPath: ${JSON.stringify(socketPath)} } }`,
      );
      expect((await run("list", "--config", config)).code).toBe(0);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it.each([
    [["--help"], 0, "Usage: dfdaemon cache list"],
    [[], 0, "Usage: dfdaemon cache list"],
    [["purge"], 2, "Cannot run 'purge': expected list, pin, unpin, rm, gc"],
    [["pin"], 2, "Cannot run pin: it is not said which task"],
    [["list", "x"], 2, "'x' is one word too many"],
    [["gc", "--dryrun"], 2, "did you mean --dry-run?"],
    [["list", "--force"], 2, "list has no such flag"],
    [["list", "--socket", "/nowhere/dfdaemon.sock"], 1, "Cannot reach a dfdaemon at /nowhere/"],
  ])("answers %j with %i and a sentence", async (argv, code, text) => {
    const outcome = await run(...argv);
    expect(outcome.code).toBe(code);
    expect(outcome.out + outcome.err).toContain(text);
  });
});
