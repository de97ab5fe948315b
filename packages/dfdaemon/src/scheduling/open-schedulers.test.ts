import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import { afterEach, describe, expect, it, vi } from "vitest";
import { serveFakeScheduler, type FakeScheduler } from "../testing/fake-scheduler.ts";
import { openDaemonBench, type DaemonBench } from "../testing/running-daemon.ts";

const WAIT = { timeout: 25_000, interval: 20 };

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function open(): Promise<{
  readonly bench: DaemonBench;
  readonly path: string;
  readonly one: FakeScheduler;
  readonly two: FakeScheduler;
}> {
  const directory = await mkdtemp(join(tmpdir(), "damselfly-open-schedulers-"));
  disposables.push({
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  });
  const [one, two] = [await serveFakeScheduler(), await serveFakeScheduler()];
  const bench = await openDaemonBench();
  disposables.push(one, two, bench);
  return { bench, path: join(directory, "dynconfig.yaml"), one, two };
}

function dynconfig(scheduler: FakeScheduler, rules = {}): string {
  return JSON.stringify({
    scheduler: { addrs: [scheduler.address] },
    clientConfig: { blockList: { task: { download: rules } } },
  });
}

describe("a daemon with a dynconfig.yaml", () => {
  it(
    "follows the file: to other schedulers, and to what is blocked",
    { timeout: 30_000 },
    async () => {
      const { bench, path, one, two } = await open();
      await writeFile(path, dynconfig(one));
      const daemon = await bench.start("node", {
        "dynconfig.path": path,
        "dynconfig.refreshInterval": "50ms",
      });
      expect(daemon.schedulerAddress).toBeUndefined();
      await vi.waitFor(() => expect(one.announcements).toHaveLength(1), WAIT);
      await using client = createDfdaemonDownloadClient(daemon);
      const failure = async (): Promise<unknown> => {
        try {
          const download = { url: "http://127.0.0.1:1/file", tag: "nightly" };
          for await (const _ of client.downloadTask({ download }));
          return undefined;
        } catch (error) {
          return error;
        }
      };
      expect(await failure()).not.toMatchObject({ code: "PERMISSION_DENIED" });

      await writeFile(path, dynconfig(two, { tags: ["nightly"] }));
      await vi.waitFor(() => {
        expect(two.announcements.length).toBeGreaterThan(0);
        expect(one.departures).toEqual([daemon.hostId]);
      }, WAIT);
      expect(await failure()).toMatchObject({
        code: "PERMISSION_DENIED",
        reason: "download rejected by blocklist policy",
      });
    },
  );

  it("waits for a file that was named and is not there yet", { timeout: 30_000 }, async () => {
    const { bench, path, one } = await open();
    const daemon = await bench.start("node", { "dynconfig.path": path });
    await vi.waitFor(
      () => expect(daemon.log.some((line) => line.includes("cannot find schedulers"))).toBe(true),
      WAIT,
    );
    expect(daemon.schedulerAddress).toBeUndefined();
    await writeFile(path, dynconfig(one));
    await vi.waitFor(() => expect(one.announcements).toHaveLength(1), WAIT);
  });

  it("goes by scheduler.addrs when they are given, too", { timeout: 30_000 }, async () => {
    const { bench, path, one, two } = await open();
    await writeFile(path, dynconfig(one));
    await bench.start("node", { "dynconfig.path": path, "scheduler.addrs": [two.address] });
    await vi.waitFor(() => expect(two.announcements).toHaveLength(1), WAIT);
    expect(one.announcements).toEqual([]);
  });
});
