import { describe, expect, it } from "vitest";
import type { RunningDfget } from "../support/daemon.ts";
import type { HeldFile } from "../support/held-file.ts";
import { untilAnnounced, untilHolding } from "../support/look.ts";
import { LENGTH, PIECE_LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import type { Member, TheirScheduler } from "./support/their-cluster.ts";

type Kind = "ours" | "Dragonfly's";

/** When half-way is: the origin reads no further. */
const HELD_COUNT = 4;

describeInterop("half-way", () => {
  const cluster = useMixedCluster("test");
  const files = useFiles();

  interface Place {
    readonly scheduler: TheirScheduler;
    readonly seed?: boolean;
  }

  const start = async (kind: Kind, name: string, place: Place): Promise<Member> => {
    const { scheduler, seed = false } = place;
    if (kind === "Dragonfly's") {
      const schedulers = [scheduler.address];
      return await cluster.startTheirDaemon({ name, schedulers, seed, originPieceCount: 1 });
    }
    const settings = { "download.backToSourceConcurrentPieceCount": 1 };
    return await cluster.startOurDaemon({ name, scheduler: scheduler.address, seed, settings });
  };

  /** Both hold what the origin has served so far, and wait for more. */
  const halfWay = async (
    members: readonly Member[],
  ): Promise<{ file: HeldFile; downloads: RunningDfget[] }> => {
    const file = files.hold(HELD_COUNT * PIECE_LENGTH);
    const downloads: RunningDfget[] = [];
    for (const daemon of members) {
      const download = cluster.startDfget(file.url, { daemon });
      downloads.push(download);
      await untilHolding(daemon, await download.untilStarted(), HELD_COUNT);
    }
    return { file, downloads };
  };

  const expectComplete = async (downloads: readonly RunningDfget[]): Promise<void> => {
    for (const { result, output } of downloads) {
      const { exit, error } = await result;
      expect([exit.code, error]).toEqual([0, undefined]);
      expect(await files.sha256Of(output)).toBe(files.sha256);
    }
  };

  describe.each(["ours", "Dragonfly's"] as const)("with a seed that is %s", (seedKind) => {
    it("Dragonfly's scheduler may be killed, and is found when it is back", async () => {
      let scheduler = await cluster.startTheirScheduler();
      const seed = await start(seedKind, "seed", { scheduler, seed: true });
      const children = [
        await start("ours", "one", { scheduler }),
        await start("Dragonfly's", "two", { scheduler }),
      ];
      await untilAnnounced(scheduler, [seed, ...children]);
      await scheduler.untilSeedsCount();
      const { file, downloads } = await halfWay(children);
      await scheduler.child.end();
      file.release();
      await expectComplete(downloads);

      scheduler = await cluster.startTheirScheduler({ port: scheduler.port });
      // Dragonfly's daemons announce themselves once in five minutes: ours come back by themselves.
      await untilAnnounced(scheduler, seedKind === "ours" ? [seed, children[0]!] : [children[0]!]);
      const { path, url } = files.serve();
      expect(await cluster.fetch(url, { daemon: children[0]! })).toMatchObject({
        sha256: files.sha256,
      });
      expect(files.servedBytes(path)).toBe(LENGTH);
    });

    it("the seed may be killed", async () => {
      const scheduler = await cluster.startTheirScheduler();
      const seed = await start(seedKind, "seed", { scheduler, seed: true });
      const children = [
        await start("ours", "one", { scheduler }),
        await start("Dragonfly's", "two", { scheduler }),
      ];
      await untilAnnounced(scheduler, [seed, ...children]);
      await scheduler.untilSeedsCount();
      const { file, downloads } = await halfWay(children);
      await seed.child.end();
      file.release();
      await expectComplete(downloads);
    });
  });

  describe.each([
    ["ours", "Dragonfly's"],
    ["Dragonfly's", "ours"],
  ] as const)("with a parent that is %s and a child that is %s", (parentKind, childKind) => {
    it("the parent may be killed", async () => {
      const scheduler = await cluster.startTheirScheduler();
      const parent = await start(parentKind, "parent", { scheduler });
      const child = await start(childKind, "child", { scheduler });
      await untilAnnounced(scheduler, [parent, child]);
      const { file, downloads } = await halfWay([parent, child]);
      await parent.child.end();
      file.release();
      await expectComplete(downloads.slice(1));
    });

    it("the child may be killed, and fetches the rest when it is back", async () => {
      const scheduler = await cluster.startTheirScheduler();
      const parent = await start(parentKind, "parent", { scheduler });
      const child = await start(childKind, "child", { scheduler });
      await untilAnnounced(scheduler, [parent, child]);
      const { file, downloads } = await halfWay([parent, child]);
      await child.child.end();
      expect((await downloads[1]!.result).exit.code).toBe(1);

      const again = await start(childKind, "child", { scheduler });
      const second = cluster.startDfget(file.url, { daemon: again });
      file.release();
      await expectComplete([downloads[0]!, second]);
      expect(files.servedBytes(file.path)).toBeLessThanOrEqual(1.02 * LENGTH);
    });
  });
});
