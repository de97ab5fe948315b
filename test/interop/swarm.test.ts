import { expect, it } from "vitest";
import { untilAnnounced } from "../support/look.ts";
import { sha256OfFile } from "../support/daemon.ts";
import { LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import type { Member } from "./support/their-cluster.ts";

describeInterop("four of ours and four of Dragonfly's", () => {
  const cluster = useMixedCluster("test");
  const files = useFiles();

  it.each([
    ["Dragonfly's", "our"],
    ["Dragonfly's", "Dragonfly's"],
    ["our", "our"],
    ["our", "Dragonfly's"],
  ] as const)(
    "with %s scheduler, and the seed one of %s, have the origin serve the file once",
    async (whose, seedOf) => {
      const scheduler =
        whose === "our" ? await cluster.startScheduler() : await cluster.startTheirScheduler();
      const names = ["one", "two", "three", "four"] as const;
      const ours = await Promise.all(
        names.map((name) =>
          cluster.startOurDaemon({
            name: `our-${name}`,
            scheduler: scheduler.address,
            tls: whose !== "our",
            seed: name === "four" && seedOf === "our",
          }),
        ),
      );
      const theirs = await Promise.all(
        names.map((name) =>
          cluster.startTheirDaemon({
            name: `their-${name}`,
            schedulers: [scheduler.address],
            seed: name === "four" && seedOf !== "our",
          }),
        ),
      );
      await untilAnnounced(scheduler, [...ours, ...theirs]);
      if ("untilSeedsCount" in scheduler) await scheduler.untilSeedsCount();

      const { path, url } = files.serve();
      const fetchBy = async (member: Member, isOurs: boolean): Promise<string> => {
        if (!isOurs) return await cluster.fetchTheirs(url, { daemon: member });
        const output = cluster.path();
        await cluster.fetch(url, { daemon: member, output });
        return await sha256OfFile(output);
      };
      const digests = await Promise.all([
        ...ours.map((member) => fetchBy(member, true)),
        ...theirs.map((member) => fetchBy(member, false)),
      ]);
      expect(new Set(digests)).toEqual(new Set([files.sha256]));
      expect(files.servedBytes(path)).toBeLessThanOrEqual(1.02 * LENGTH);
    },
  );
});
