import { describe, expect, it } from "vitest";
import { createSchedulerClient, RpcError } from "@damselfly/rpc";
import { LOOPBACK } from "../support/daemon.ts";
import { untilAnnounced } from "../support/look.ts";
import { LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";

describeInterop("our scheduler, with Dragonfly's peers only", () => {
  const cluster = useMixedCluster("test");
  const files = useFiles();

  it.each([
    ["a seed of theirs", true],
    ["no seed", false],
  ])("and %s, has the origin serve the file once", async (_what, hasSeed) => {
    const scheduler = await cluster.startScheduler();
    const daemons = await Promise.all(
      ["one", "two", "three", "four"].map((name) =>
        cluster.startTheirDaemon({
          name,
          schedulers: [scheduler.address],
          seed: hasSeed && name === "four",
        }),
      ),
    );
    await untilAnnounced(scheduler, daemons);
    const { path, url } = files.serve();
    const digests = await Promise.all(
      daemons.map((daemon) => cluster.fetchTheirs(url, { daemon })),
    );
    expect(new Set(digests)).toEqual(new Set([files.sha256]));
    expect(files.servedBytes(path)).toBe(LENGTH);
  });

  it("runs inside one of our daemons as well", async () => {
    const [port = 0] = await cluster.takePorts(1);
    const ours = await cluster.startOurDaemon({
      name: "ours",
      seed: true,
      settings: { "scheduler.embedded": true, "scheduler.port": port },
    });
    const theirs = await cluster.startTheirDaemon({
      name: "theirs",
      schedulers: [`${LOOPBACK}:${port}`],
    });
    await untilAnnounced({ port }, [ours, theirs]);
    const { path, url } = files.serve();
    expect(await cluster.fetchTheirs(url, { daemon: theirs })).toBe(files.sha256);
    expect(await theirs.traffic()).toEqual({ origin: 0, parents: LENGTH });
    expect(files.servedBytes(path)).toBe(LENGTH);
  });
});

describeInterop("two schedulers", () => {
  const cluster = useMixedCluster("test");
  const files = useFiles();

  describe.each(["Dragonfly's", "ours"])("of the kind that is %s", (kind) => {
    it("are chosen between by our daemons as by Dragonfly's", async () => {
      const start = (): Promise<{ address: string; port: number }> =>
        kind === "ours" ? cluster.startScheduler() : cluster.startTheirScheduler();
      const schedulers = await Promise.all([start(), start()]);
      const addresses = schedulers.map(({ address }) => address);
      const ours = await cluster.startOurDaemon({
        name: "ours",
        settings: { "scheduler.addrs": JSON.stringify(addresses) },
      });
      const theirs = await cluster.startTheirDaemon({ name: "theirs", schedulers: addresses });
      for (const scheduler of schedulers) await untilAnnounced(scheduler, [ours, theirs]);

      const known = new Set<number>();
      for (let turn = 0; turn < 8; turn += 1) {
        const { path, url } = files.serve();
        // Now the one is first to choose, now the other; who comes second finds the first only at the same scheduler.
        if (turn % 2 === 0) await cluster.fetchTheirs(url, { daemon: theirs });
        const { taskId, fromParents } = await cluster.fetch(url, { daemon: ours });
        if (turn % 2 !== 0) await cluster.fetchTheirs(url, { daemon: theirs });
        else expect(fromParents).toEqual({ [theirs.hostId]: LENGTH });
        expect(files.servedBytes(path)).toBe(LENGTH);

        const holders = await Promise.all(
          schedulers.map(({ port }) => knowsTask(port, { hostId: ours.hostId, taskId })),
        );
        expect(holders.filter((holds) => holds)).toHaveLength(1);
        known.add(holders.indexOf(true));
      }
      expect(known.size).toBe(2);
    });
  });
});

async function knowsTask(
  port: number,
  task: { readonly hostId: string; readonly taskId: string },
): Promise<boolean> {
  await using client = createSchedulerClient({ ip: LOOPBACK, port });
  try {
    await client.statTask(task);
    return true;
  } catch (error) {
    if (error instanceof RpcError && error.code === "NOT_FOUND") return false;
    throw error;
  }
}
