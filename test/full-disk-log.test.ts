import { existsSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createSchedulerClient } from "@damselfly/rpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accepts } from "./support/accepts.ts";
import type { Child } from "./support/child.ts";
import { LOOPBACK, sha256, useCluster } from "./support/daemon.ts";
import { eventually } from "./support/eventually.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

/** Whatever is written there finds no room. */
const FULL = "/dev/full";
const CONTENT = seededContent(100_000);

let origin: OriginServer;
beforeAll(async () => {
  origin = await openOriginServer();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

function serve(path: string): string {
  origin.set(path, { content: CONTENT });
  return `${origin.url}${path}`;
}

/** Of a process that says nothing of itself. */
async function childrenOf({ pid }: Child): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

describe.skipIf(!existsSync(FULL))(`a log on a full disk (${FULL})`, () => {
  const cluster = useCluster("test");

  /** With ports of its own; resolves when it takes calls. */
  async function startDaemon(flags: readonly string[]): Promise<Child & { socketPath: string }> {
    const socketPath = cluster.path("socket");
    const config = cluster.path("dfdaemon.yaml");
    const server = `{ server: { ip: ${LOOPBACK}, port: 0 } }`;
    const quic = "{ port: 0, quinnPort: 0 }";
    await writeFile(
      config,
      [
        ...["upload", "health", "metrics", "stats"].map((name) => `${name}: ${server}`),
        `host: { ip: ${LOOPBACK} }`,
        `storage: { dir: ${cluster.path("storage")}, server: { ip: ${LOOPBACK}, grpcPort: 0, tcpPort: 0, quic: ${quic} } }`,
      ].join("\n"),
    );
    const args = ["--config", config, "--socket", socketPath, ...flags];
    const child = cluster.spawn("dfdaemon", args, { redirection: `2>${FULL}` });
    await eventually("the daemon's socket", async () => {
      if (child.exit !== undefined) throw new Error(`it ended: ${JSON.stringify(child.exit)}`);
      return (await accepts(socketPath)) ? true : undefined;
    });
    return Object.assign(child, { socketPath });
  }

  it.each([["stderr"], ["stderr, as lines for people"], ["stderr, and in --log-dir"]])(
    "costs lines and never the daemon (%s)",
    async (where) => {
      const flags = where.includes("people") ? ["--console"] : [];
      if (where.includes("--log-dir")) {
        const directory = cluster.path("logs");
        await mkdir(directory);
        await symlink(FULL, join(directory, "dfdaemon.log"));
        flags.push("--log-dir", directory);
      }
      const daemon = await startDaemon(flags);
      expect((await cluster.fetch(serve("/one"), { daemon })).sha256).toBe(sha256(CONTENT));
      // That is logged where nobody waits for the one who logs.
      const [worker] = await childrenOf(daemon);
      process.kill(worker!, "SIGKILL");
      await eventually("another data-plane process", async () => {
        const [another] = await childrenOf(daemon);
        return another === undefined || another === worker ? undefined : another;
      });
      expect((await cluster.fetch(serve("/two"), { daemon })).sha256).toBe(sha256(CONTENT));
      daemon.kill("SIGTERM");
      expect(await daemon.exited).toEqual({ code: 0, signal: null });
    },
  );

  async function startScheduler(redirection: string): Promise<Child> {
    const config = cluster.path("scheduler.yaml");
    await writeFile(config, `server: { listenIP: ${LOOPBACK}, port: 0 }`);
    return cluster.spawn("dfscheduler", ["--config", config], { redirection });
  }

  it("costs lines and never the scheduler", async () => {
    const scheduler = await startScheduler(`2>${FULL}`);
    const port = await scheduler.until(
      "it was ready",
      () => /^dfscheduler is ready at \S+:(\d+) /m.exec(scheduler.stdout.toString())?.[1],
    );
    await using client = createSchedulerClient({ ip: LOOPBACK, port: Number(port) });
    expect((await client.listHosts({})).hosts).toEqual([]);
    scheduler.kill("SIGTERM");
    expect(await scheduler.exited).toEqual({ code: 0, signal: null });
  });

  it("costs the scheduler's ready line, too, and it says so", async () => {
    const scheduler = await startScheduler(`>${FULL}`);
    await scheduler.until("a word of that", () =>
      scheduler.lines.find((line) =>
        line.startsWith("dfscheduler: cannot write to stdout: ENOSPC"),
      ),
    );
    scheduler.kill("SIGTERM");
    expect(await scheduler.exited).toEqual({ code: 0, signal: null });
  });
});
