import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256, sha256OfFile, useCluster, type RunningDaemon } from "./support/daemon.ts";
import { holdFile, type HeldFile } from "./support/held-file.ts";
import { untilHolding } from "./support/look.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const run = promisify(execFile);
const PIECE_LENGTH = 4 * 2 ** 20;
const CONTENT = seededContent(6 * PIECE_LENGTH + 17);
const SHA256 = sha256(CONTENT);
/** Piece after piece, so that some are whole while the file is held. */
const ONE_BY_ONE = { "download.backToSourceConcurrentPieceCount": 1 };

let origin: OriginServer;
let fileCount = 0;

beforeAll(async () => {
  origin = await openOriginServer();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

function serveHeld(): HeldFile {
  fileCount += 1;
  const byteCount = 3 * PIECE_LENGTH;
  return holdFile(origin, `/held-${fileCount}`, { content: CONTENT, byteCount });
}

function serve(): string {
  fileCount += 1;
  origin.set(`/file-${fileCount}`, { content: CONTENT });
  return `${origin.url}/file-${fileCount}`;
}

/** Of the data-plane processes that a daemon has started so far, the last one last. */
function workerPids({ log }: RunningDaemon): number[] {
  return log
    .filter(({ msg }) => /^data-plane process \d+ serves$/.test(msg))
    .map(({ pid, ...fields }) => Number(fields["worker"] === undefined ? 0 : pid));
}

async function untilReplaced(daemon: RunningDaemon, count: number): Promise<void> {
  await daemon.child.until(`process ${count + 1}`, () =>
    workerPids(daemon).length > count ? true : undefined,
  );
}

async function isAlive(pid: number): Promise<boolean> {
  try {
    // A zombie has nothing left but its entry.
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe.runIf(process.platform === "linux")("the data plane in a process of its own", () => {
  const cluster = useCluster("test");

  /** A seed that has the file of that URL, and a child that has nothing yet. */
  async function startHolder(): Promise<{
    readonly seed: RunningDaemon;
    readonly child: RunningDaemon;
    readonly url: string;
  }> {
    const scheduler = await cluster.startScheduler();
    const common = { scheduler: scheduler.address, protocol: "auto" } as const;
    const seed = await cluster.startDaemon({ ...common, name: "seed", seed: true });
    const child = await cluster.startDaemon({ ...common, name: "child" });
    const url = serve();
    await cluster.fetch(url, { daemon: seed });
    return { seed, child, url };
  }

  it.each(["SIGKILL", "SIGABRT", "SIGSEGV", "SIGSTOP"] as const)(
    "is replaced when it gets %s in the middle, and the download goes on from the pieces that are there",
    async (signal) => {
      const daemon = await cluster.startDaemon({ settings: ONE_BY_ONE });
      const file = serveHeld();
      const download = cluster.startDfget(file.url, { daemon });
      await untilHolding(daemon, await download.untilStarted(), 2);
      const [pid] = workerPids(daemon);
      process.kill(pid!, signal);
      await untilReplaced(daemon, 1);
      expect(await isAlive(pid!)).toBe(false);
      file.release();
      const { error, done } = await download.result;
      expect(error).toBeUndefined();
      expect(await sha256OfFile(download.output)).toBe(SHA256);
      expect(done?.done).toBe(CONTENT.byteLength);
      // What was recorded is not read twice; the one piece that was on its way is.
      expect(origin.bodyBytes(file.path)).toBeLessThanOrEqual(CONTENT.byteLength + PIECE_LENGTH);
      const line = daemon.log.find(({ msg }) => msg.startsWith("data-plane process 0 "));
      expect(line).toBeDefined();
      expect(daemon.log.some(({ msg }) => msg.includes("another one is started now"))).toBe(true);
    },
  );

  it("is replaced on the side that serves, too, and the child gets its pieces all the same", async () => {
    const { seed, child, url } = await startHolder();
    const download = cluster.startDfget(url, { daemon: child });
    await download.untilStarted();
    process.kill(workerPids(seed)[0]!, "SIGKILL");
    const { error } = await download.result;
    expect(error).toBeUndefined();
    expect(await sha256OfFile(download.output)).toBe(SHA256);
    await untilReplaced(seed, 1);
    const { sha256: again } = await cluster.fetch(serve(), { daemon: child });
    expect(again).toBe(SHA256);
  });

  it("is no reason to look elsewhere for a child that begins while it is replaced", async () => {
    const { seed, child, url } = await startHolder();
    // It says what the file is, and gives none of it.
    origin.set(new URL(url).pathname, ({ method }) =>
      method === "HEAD" ? { content: CONTENT } : { status: 503 },
    );
    const kill = (): boolean => process.kill(workerPids(seed).at(-1)!, "SIGKILL");
    for (let count = 1; count <= 5; count += 1) {
      kill();
      await untilReplaced(seed, count);
    }
    // From now on it takes two seconds before another one is started.
    kill();
    await seed.untilLogged("another one is started in 2 s");
    const { sha256: fetched, fromParents } = await cluster.fetch(url, { daemon: child });
    expect(fetched).toBe(SHA256);
    expect(fromParents).toEqual({ [seed.hostId]: CONTENT.byteLength });
    expect(child.log.filter(({ msg }) => msg.includes("serves none of"))).toEqual([]);
  });

  it("goes on without QUIC when it ends again and again, loudly", async () => {
    const scheduler = await cluster.startScheduler();
    const common = { scheduler: scheduler.address, protocol: "auto" } as const;
    const seed = await cluster.startDaemon({ ...common, name: "seed", seed: true });
    const child = await cluster.startDaemon({ ...common, name: "child" });
    const file = serve();
    await cluster.fetch(file, { daemon: seed });
    for (const daemon of [seed, child]) {
      for (let count = 1; count <= 3; count += 1) {
        process.kill(workerPids(daemon).at(-1)!, "SIGABRT");
        await untilReplaced(daemon, count);
      }
      const line = await daemon.untilLogged("QUIC IS LEFT OUT");
      expect(line.level).toBe(50);
    }
    const { sha256: fetched, fromParents } = await cluster.fetch(file, { daemon: child });
    expect(fetched).toBe(SHA256);
    expect(fromParents).toEqual({ [seed.hostId]: CONTENT.byteLength });
    expect(origin.bodyBytes(new URL(file).pathname)).toBe(CONTENT.byteLength);
  });

  it("is replaced late, and not at the daemon's cost, when there are no descriptors for another process", async () => {
    const daemon = await cluster.startDaemon();
    const pid = ["--pid", String(daemon.child.pid)];
    const limit = (count: string) => run("prlimit", [...pid, `--nofile=${count}:`]);
    const { stdout } = await run("prlimit", [...pid, "--nofile", "--noheadings", "-o", "SOFT"]);
    // What is open stays open.
    await limit("3");
    process.kill(workerPids(daemon)[0]!, "SIGKILL");
    await daemon.untilLogged("could not be started: Cannot start a data-plane process");
    await limit(stdout.trim());
    await untilReplaced(daemon, 1);
    expect((await cluster.fetch(serve(), { daemon })).sha256).toBe(SHA256);
  });

  it.each(["SIGCONT", "SIGSTOP"] as const)(
    "ends with a daemon that is killed, also when it hangs itself (%s), so that the next daemon starts at once",
    async (state) => {
      const daemon = await cluster.startDaemon({ protocol: "auto", settings: ONE_BY_ONE });
      const file = serveHeld();
      const download = cluster.startDfget(file.url, { daemon });
      await untilHolding(daemon, await download.untilStarted(), 2);
      const [pid] = workerPids(daemon);
      process.kill(pid!, state);
      daemon.child.kill("SIGKILL");
      await download.result;
      // One that stands still cannot see that it is alone: the next daemon ends it, before it looks at what is on the disk.
      if (state === "SIGCONT")
        await expect.poll(() => isAlive(pid!), { timeout: 20_000 }).toBe(false);
      file.release();
      const next = await cluster.startDaemon({ name: daemon.name, protocol: "auto" });
      expect(await isAlive(pid!)).toBe(false);
      expect(workerPids(next)).not.toContain(pid);
      expect((await cluster.fetch(file.url, { daemon: next })).sha256).toBe(SHA256);
    },
  );

  it("finishes what it serves when the whole group is told to stop, and is gone with the daemon", async () => {
    const daemon = await cluster.startDaemon();
    const [pid] = workerPids(daemon);
    // As a terminal or systemd does it: everybody gets the signal.
    process.kill(pid!, "SIGTERM");
    process.kill(pid!, "SIGINT");
    expect((await cluster.fetch(serve(), { daemon })).sha256).toBe(SHA256);
    expect(workerPids(daemon)).toEqual([pid]);
    daemon.child.kill("SIGTERM");
    expect(await daemon.child.exited).toEqual({ code: 0, signal: null });
    expect(await isAlive(pid!)).toBe(false);
  });

  it("can be several processes, or none", async () => {
    const two = await cluster.startDaemon({ name: "two", settings: { "dataPlane.workers": 2 } });
    expect(workerPids(two)).toHaveLength(2);
    const url = serve();
    expect((await cluster.fetch(url, { daemon: two })).sha256).toBe(SHA256);
    const none = await cluster.startDaemon({ name: "none", settings: { "dataPlane.workers": 0 } });
    expect(workerPids(none)).toEqual([]);
    expect((await cluster.fetch(url, { daemon: none })).sha256).toBe(SHA256);
  });
});
