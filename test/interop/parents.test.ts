import { describe, expect, it } from "vitest";
import { untilAnnounced } from "../support/look.ts";
import { LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import { OURS } from "./support/ours.ts";

describeInterop("behind Dragonfly's scheduler", () => {
  const cluster = useMixedCluster("test");
  const files = useFiles();

  describe.each(OURS)("our daemon %s", (_how, options) => {
    it("is the parent of a Dragonfly child", async () => {
      const scheduler = await cluster.startTheirScheduler();
      const { address } = scheduler;
      const parent = await cluster.startOurDaemon({
        ...options,
        name: "parent",
        scheduler: address,
      });
      const child = await cluster.startTheirDaemon({ name: "child", schedulers: [address] });
      await untilAnnounced(scheduler, [parent, child]);
      const { path, url } = files.serve();
      await cluster.fetch(url, { daemon: parent });
      expect(await cluster.fetchTheirs(url, { daemon: child })).toBe(files.sha256);
      expect(await child.traffic()).toEqual({ origin: 0, parents: LENGTH });
      expect(files.servedBytes(path)).toBe(LENGTH);
    });

    it("is the child of a Dragonfly parent", async () => {
      const scheduler = await cluster.startTheirScheduler();
      const { address } = scheduler;
      const parent = await cluster.startTheirDaemon({ name: "parent", schedulers: [address] });
      const child = await cluster.startOurDaemon({ ...options, name: "child", scheduler: address });
      await untilAnnounced(scheduler, [parent, child]);
      const { path, url } = files.serve();
      await cluster.fetchTheirs(url, { daemon: parent });
      const done = await cluster.fetch(url, { daemon: child });
      expect(done).toMatchObject({
        sha256: files.sha256,
        fromOrigin: 0,
        fromParents: { [parent.hostId]: LENGTH },
      });
      expect(files.servedBytes(path)).toBe(LENGTH);
    });
  });

  it("a Dragonfly child that is set to QUIC takes our pieces over TCP", async () => {
    const scheduler = await cluster.startTheirScheduler();
    const { address } = scheduler;
    const parent = await cluster.startOurDaemon({ name: "parent", scheduler: address });
    const child = await cluster.startTheirDaemon({
      name: "child",
      schedulers: [address],
      protocol: "quic",
    });
    await untilAnnounced(scheduler, [parent, child]);
    const { path, url } = files.serve();
    await cluster.fetch(url, { daemon: parent });
    expect(await cluster.fetchTheirs(url, { daemon: child })).toBe(files.sha256);
    expect(await child.traffic()).toEqual({ origin: 0, parents: LENGTH });
    expect(files.servedBytes(path)).toBe(LENGTH);
  });
});
