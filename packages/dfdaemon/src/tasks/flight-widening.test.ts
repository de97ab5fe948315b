import { afterEach, describe, expect, it } from "vitest";
import type { PieceSource } from "@damselfly/transport";
import type { ScheduleEvent } from "../scheduling/scheduler-link.ts";
import {
  contentOf,
  openFakeCluster,
  PIECE_LENGTH,
  type FakeCluster,
  type FakeSession,
} from "../testing/fake-cluster.ts";

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** One parent that gives nothing until the gate opens, one that gives at once, and a child that is told of the first only. */
async function setStage(answer: (cluster: FakeCluster) => ScheduleEvent): Promise<{
  readonly cluster: FakeCluster;
  readonly download: () => Promise<FakeSession>;
}> {
  const cluster = await openFakeCluster(20 * PIECE_LENGTH);
  disposables.push(cluster);
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const held = (source: PieceSource): PieceSource => ({
    async openPiece(request, options) {
      await gate;
      return await source.openPiece(request, options);
    },
  });
  const fromOrigin = (session: FakeSession): void =>
    session.say({ kind: "origin", reason: "first" });
  const slow = await cluster.addNode("slow", { script: fromOrigin, corrupt: held });
  const quick = await cluster.addNode("quick", { script: fromOrigin });
  await Promise.all([slow.download(), quick.download()]);
  const child = await cluster.addNode("child", {
    dialect: "dragonfly",
    limits: { widenMs: 1 },
    script: (session) => {
      session.say({ kind: "parents", parents: [slow.candidate] });
      session.onReschedule = () => {
        session.say(answer(cluster));
        open();
      };
    },
  });
  return {
    cluster,
    async download() {
      await child.download({ schedulingPolicy: "ALWAYS" });
      expect((await contentOf(child)).equals(cluster.origin.content)).toBe(true);
      return child.sessions[0]!;
    },
  };
}

describe("a flight behind Dragonfly's scheduler", { timeout: 30_000 }, () => {
  it("asks for more parents while it has few", async () => {
    const stage = await setStage((cluster) => ({
      kind: "parents",
      parents: [cluster.nodes.get("quick")!.candidate],
    }));
    const session = await stage.download();
    expect(session.reports).toContain("reschedule: more parents would help");
    const sources = new Set(session.pieces.map(([, source]) => source));
    expect(sources).toContain("peer-quick");
    expect(session.reports.at(-1)).toBe("finished from parents");
  });

  it("stays with the parents it has when there are no more", async () => {
    const stage = await setStage(() => ({ kind: "origin", reason: "nobody else" }));
    const session = await stage.download();
    expect(session.reports).toContain("reschedule: more parents would help");
    expect(new Set(session.pieces.map(([, source]) => source))).toEqual(new Set(["peer-slow"]));
    expect(session.reports.at(-1)).toBe("finished from parents");
  });
});
