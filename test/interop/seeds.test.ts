import { beforeAll, describe, expect, it } from "vitest";
import type { RunningDaemon } from "../support/daemon.ts";
import { untilAnnounced } from "../support/look.ts";
import { LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import { OURS } from "./support/ours.ts";
import type { TheirDaemon, TheirScheduler } from "./support/their-cluster.ts";

describeInterop("a Dragonfly seed behind Dragonfly's scheduler", () => {
  const cluster = useMixedCluster("file");
  const files = useFiles();
  let scheduler: TheirScheduler;
  let seed: TheirDaemon;

  beforeAll(async () => {
    scheduler = await cluster.startTheirScheduler();
    seed = await cluster.startTheirDaemon({
      name: "seed",
      schedulers: [scheduler.address],
      seed: true,
    });
    await scheduler.untilSeedsCount();
  });

  it.each(OURS)("reads the origin for our child %s", async (how, options) => {
    const name = how.replaceAll(" ", "-");
    const child = await cluster.startOurDaemon({ ...options, name, scheduler: scheduler.address });
    await untilAnnounced(scheduler, [child]);
    const { path, url } = files.serve();
    const done = await cluster.fetch(url, { daemon: child });
    expect(done).toMatchObject({
      sha256: files.sha256,
      fromOrigin: 0,
      fromParents: { [seed.hostId]: LENGTH },
    });
    expect(files.servedBytes(path)).toBe(LENGTH);
  });
});

describeInterop("our seed behind Dragonfly's scheduler", () => {
  describe.each(OURS)("%s", (_how, options) => {
    const cluster = useMixedCluster("file");
    const files = useFiles();
    let scheduler: TheirScheduler;
    let seed: RunningDaemon;

    beforeAll(async () => {
      scheduler = await cluster.startTheirScheduler();
      seed = await cluster.startOurDaemon({
        ...options,
        name: "seed",
        scheduler: scheduler.address,
        seed: true,
      });
      await untilAnnounced(scheduler, [seed]);
      await scheduler.untilSeedsCount();
    });

    it("reads the origin for a Dragonfly child", async () => {
      const child = await cluster.startTheirDaemon({
        name: "child",
        schedulers: [scheduler.address],
      });
      await untilAnnounced(scheduler, [child]);
      const { path, url } = files.serve();
      expect(await cluster.fetchTheirs(url, { daemon: child })).toBe(files.sha256);
      expect(await child.traffic()).toEqual({ origin: 0, parents: LENGTH });
      expect(files.servedBytes(path)).toBe(LENGTH);
    });

    it("reads the origin for three of ours, which share what they have", async () => {
      const children = await Promise.all(
        ["one", "two", "three"].map((name) =>
          cluster.startOurDaemon({ ...options, name, scheduler: scheduler.address }),
        ),
      );
      await untilAnnounced(scheduler, children);
      const { path, url } = files.serve();
      const downloads = children.map((daemon) => cluster.fetch(url, { daemon }));
      for (const done of await Promise.all(downloads)) {
        expect(done).toMatchObject({ sha256: files.sha256, fromOrigin: 0 });
      }
      expect(files.servedBytes(path)).toBe(LENGTH);
    });
  });
});
