import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { findFreePort } from "../packages/dfdaemon/src/testing/running-daemon.ts";
import {
  sha256,
  sha256OfFile,
  useCluster,
  type RunningDaemon,
  type RunningDfget,
  type RunningScheduler,
} from "./support/daemon.ts";
import { eventually } from "./support/eventually.ts";
import { freeze, freezeMidPiece, tasksOf, thaw } from "./support/frozen.ts";
import { untilAnnounced } from "./support/look.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const MIB = 2 ** 20;
const LENGTH = 64 * MIB + 17;
const CONTENT = seededContent(LENGTH);
const SHA256 = sha256(CONTENT);
/** Large ones, so that there is a middle to stop in. */
const FLAGS = ["--piece-length", "32mib"];

/** Of a daemon's line about a download that is done. */
interface TaskDone {
  readonly originBytes: number;
  readonly parents: Readonly<Record<string, number>>;
}

describe.runIf(process.platform === "linux")(
  "a parent that freezes in the middle of a piece",
  () => {
    const cluster = useCluster("test");
    let origin: OriginServer;
    let scheduler: RunningScheduler;
    let statsPort: number;
    const started: RunningDaemon[] = [];
    // Before the cluster is stopped, which what is frozen would hear nothing of.
    afterEach(() => started.splice(0).forEach(thaw));
    beforeAll(async () => {
      origin = await openOriginServer();
    });
    afterAll(async () => {
      await origin[Symbol.asyncDispose]();
    });

    async function startChild(): Promise<RunningDaemon> {
      statsPort = await findFreePort();
      return await cluster.startDaemon({
        name: "child",
        scheduler: scheduler.address,
        protocol: "auto",
        // Slow by its own will, so that there is a middle to stop in however fast the machine is.
        settings: { "stats.server.port": statsPort, "download.bandwidthLimit": "64MiB" },
      });
    }

    /** Parents of these names that have all of the file. */
    async function startParents(path: string, ...names: string[]): Promise<RunningDaemon[]> {
      scheduler = await cluster.startScheduler();
      origin.set(path, { content: CONTENT });
      const parents: RunningDaemon[] = [];
      for (const name of names) {
        const options = { name, seed: parents.length === 0, scheduler: scheduler.address };
        const parent = await cluster.startDaemon({ ...options, protocol: "auto" });
        await untilAnnounced(scheduler, [parent]);
        const { sha256: actual } = await cluster.fetch(`${origin.url}${path}`, {
          daemon: parent,
          flags: FLAGS,
        });
        expect(actual).toBe(SHA256);
        parents.push(parent);
        started.push(parent);
      }
      expect(origin.bodyBytes(path)).toBe(LENGTH);
      return parents;
    }

    async function assertWhole(download: RunningDfget): Promise<void> {
      const { error } = await download.result;
      expect(error).toBeUndefined();
      expect(await sha256OfFile(download.output)).toBe(SHA256);
    }

    async function untilDone(daemon: RunningDaemon): Promise<TaskDone> {
      const { originBytes, parents } = await daemon.untilLogged("task done");
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- compared below
      return { originBytes, parents } as TaskDone;
    }

    it("has its children go on from the byte they have with another parent", async () => {
      const path = "/two-parents";
      const [one, two] = await startParents(path, "one", "two");
      const child = await startChild();
      await untilAnnounced(scheduler, [child]);
      freeze(two!);
      const download = cluster.startDfget(`${origin.url}${path}`, { daemon: child, flags: FLAGS });
      await eventually("pieces of the first parent", async () => {
        const [task] = await tasksOf(statsPort);
        return task?.transfer?.parents.some(({ state }) => state !== "asked") ? true : undefined;
      });
      const received = await freezeMidPiece(one!, statsPort);
      thaw(two!);
      await assertWhole(download);
      const { originBytes, parents } = await untilDone(child);
      expect(originBytes).toBe(0);
      // Nothing that one had sent came from the other again.
      expect(parents[one!.hostId]).toBeGreaterThanOrEqual(received);
      expect(parents[one!.hostId]! + parents[two!.hostId]!).toBe(LENGTH);
      expect(origin.bodyBytes(path)).toBe(LENGTH);
      const moves = child.log.filter(({ msg }) => /asking .*two for it from byte \d+ on/.test(msg));
      expect(moves.length).toBeGreaterThan(0);
      expect(moves.some(({ offset }) => Number(offset) > 0)).toBe(true);
    });

    it("has a child go on from the byte it has at the origin when there is no other parent, and says what it waits for", async () => {
      const path = "/one-parent";
      const [one] = await startParents(path, "one");
      const child = await startChild();
      await untilAnnounced(scheduler, [child]);
      const download = cluster.startDfget(`${origin.url}${path}`, { daemon: child, flags: FLAGS });
      const received = await freezeMidPiece(one!, statsPort);
      const waiting = await eventually("a wait", async () => {
        const [task] = await tasksOf(statsPort);
        return task?.state === "content" ? task : undefined;
      });
      expect(waiting.description).toMatch(/^nothing has come of piece \d from .*one/);
      expect(waiting.boundMs).toBe(15_000);
      await assertWhole(download);
      const { originBytes, parents } = await untilDone(child);
      expect(parents[one!.hostId]).toBeGreaterThanOrEqual(received);
      expect(originBytes + parents[one!.hostId]!).toBe(LENGTH);
      // Once for the seed, and of the second time only what nobody had sent.
      expect(origin.bodyBytes(path)).toBe(LENGTH + originBytes);
      const { events } = await download.result;
      expect(events).toContainEqual(
        expect.objectContaining({ event: "waiting", reason: "content", boundMs: 15_000 }),
      );
      expect(child.log.map(({ msg }) => msg)).toContainEqual(
        expect.stringMatching(/^waiting: nothing has come of piece \d from .*one.* for \d+ s/),
      );
    });
  },
);
