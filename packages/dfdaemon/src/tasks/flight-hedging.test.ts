import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import type { PieceSource } from "@damselfly/transport";
import { describe, test } from "vitest";
import {
  contentOf,
  openFakeCluster,
  PIECE_LENGTH,
  type FakeCluster,
  type FakeNode,
  type Script,
} from "../testing/fake-cluster.ts";
import { ContentLimits, DEFAULT_CONTENT_LIMITS } from "../data-plane/content-limits.ts";
import { OriginError } from "../origins/origin-error.ts";
import { StallingSource } from "../testing/stalling-source.ts";

const PIECE_COUNT = 6;
const LENGTH = PIECE_COUNT * PIECE_LENGTH;
const HALF = PIECE_LENGTH / 2;
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });

/** A cluster of its own for each test, and what they do with it. */
class Scene {
  readonly cluster: FakeCluster;

  constructor(cluster: FakeCluster) {
    this.cluster = cluster;
  }

  /** Sends a child to nodes of the cluster. */
  toParents(...names: string[]): Script {
    return (session) =>
      session.say({
        kind: "parents",
        parents: names.map((name) => this.cluster.nodes.get(name)!.candidate),
      });
  }

  /** A node that has everything, and sends as much of it as it is told to. */
  async addParent(
    name: string,
    options: { readonly sendsTo?: number | undefined; readonly crawlMs?: number } = {},
  ): Promise<StallingSource> {
    let stalling: StallingSource | undefined;
    const corrupt = (source: PieceSource): PieceSource =>
      (stalling = new StallingSource(source, options));
    const node = await this.cluster.addNode(name, { script: toOrigin, corrupt });
    await node.download();
    return stalling!;
  }

  /** That a node has what the origin has. */
  async assertWhole(node: FakeNode): Promise<void> {
    const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
    assert.equal(sha256(await contentOf(node)), sha256(this.cluster.origin.content));
  }
}

const it = test.extend<{ readonly scene: Scene }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads there what a fixture needs
  scene: async ({}, use) => {
    await using cluster = await openFakeCluster(LENGTH);
    await use(new Scene(cluster));
  },
});

/** What is silent is so for some seconds before anybody else is asked. */
describe("a flight whose pieces do not come", { timeout: 60_000 }, () => {
  it("has other parents go on from the byte that it has", async ({ scene, expect }) => {
    const frozen = await scene.addParent("frozen", { sendsTo: HALF });
    const alive = await scene.addParent("alive");
    const read = scene.cluster.origin.servedLength;
    const child = await scene.cluster.addNode("child", {
      script: scene.toParents("frozen", "alive"),
    });
    await child.download();
    await scene.assertWhole(child);
    const begun = frozen.asked.map((each) => each.split(" ")[0]);
    expect(begun.length).toBeGreaterThan(0);
    for (const number of begun) expect(alive.asked).toContain(`${number} from ${HALF}`);
    expect(scene.cluster.origin.servedLength).toBe(read);
  });

  it("takes whole pieces from other parents where they are not announced", async ({
    scene,
    expect,
  }) => {
    const frozen = await scene.addParent("frozen", { sendsTo: undefined });
    const alive = await scene.addParent("alive");
    const child = await scene.cluster.addNode("child", {
      script: scene.toParents("frozen", "alive"),
    });
    await child.download();
    await scene.assertWhole(child);
    expect(frozen.asked.length).toBeGreaterThan(0);
    expect(alive.asked).toHaveLength(PIECE_COUNT);
    const [first] = child.sessions;
    expect(new Set(first?.pieces.map(([, from]) => from))).toEqual(new Set(["peer-alive"]));
  });

  it("asks the scheduler for help when no parent is left that could go on, and goes on at the origin when it is its turn", async ({
    scene,
    expect,
  }) => {
    const frozen = await scene.addParent("frozen", { sendsTo: HALF });
    const read = scene.cluster.origin.servedLength;
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents("frozen")(session);
        session.onReschedule = () =>
          session.say({ kind: "origin", reason: "it is your turn", renewable: true });
      },
      limits: { hedgeMs: 1_000 },
    });
    await child.download();
    await scene.assertWhole(child);
    const [session] = child.sessions;
    expect(session?.reports).toContain("reschedule: what its parents have does not come");
    const begun = new Set(frozen.asked.map((each) => Number(each.split(" ")[0])));
    // Of what the parent had begun, the rest; of all others, everything.
    expect(scene.cluster.origin.servedLength - read).toBe(LENGTH - begun.size * HALF);
    // Those count as the parent's: the origin has no digest that the whole could be checked against.
    const fromParent = session!.pieces.filter(([, from]) => from === "peer-frozen");
    expect(new Set(fromParent.map(([number]) => number))).toEqual(begun);
  });

  it("does not turn to the origin on its own account while the scheduler answers", async ({
    scene,
    expect,
  }) => {
    const frozen = await scene.addParent("frozen", { sendsTo: HALF });
    const read = scene.cluster.origin.servedLength;
    const names: string[][] = [["frozen"], ["frozen"], ["frozen", "late"]];
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents(...names.shift()!)(session);
        session.onReschedule = () => scene.toParents(...(names.shift() ?? []))(session);
      },
      limits: { hedgeMs: 500 },
    });
    await scene.addParent("late");
    const readForLate = scene.cluster.origin.servedLength - read;
    await child.download();
    await scene.assertWhole(child);
    expect(frozen.asked.length).toBeGreaterThan(0);
    expect(scene.cluster.origin.servedLength - read).toBe(readForLate);
    expect(child.sessions[0]?.reports).not.toContain("started from origin");
  });

  it("turns to the origin when the scheduler says nothing for as long as it is waited for", async ({
    scene,
    expect,
  }) => {
    await scene.addParent("frozen", { sendsTo: HALF });
    const child = await scene.cluster.addNode("child", {
      script: scene.toParents("frozen"),
      limits: { hedgeMs: 300, schedulerAnswerMs: 300 },
    });
    await child.download();
    await scene.assertWhole(child);
    expect(child.sessions[0]?.reports).toContain("started from origin");
  });

  it("turns to the origin when the scheduler is lost", async ({ scene }) => {
    await scene.addParent("frozen", { sendsTo: HALF });
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents("frozen")(session);
        setTimeout(() => session.end(new Error("connection lost")), 100);
      },
      limits: { hedgeMs: 300 },
    });
    await child.download();
    await scene.assertWhole(child);
  });

  it("blames nobody for being held to its own bandwidth limit", async ({ scene, expect }) => {
    const names = ["one", "two"];
    const parents = [await scene.addParent("one"), await scene.addParent("two")];
    // Four and a half seconds, with parents that would take none.
    const contentLimits = new ContentLimits({
      ...DEFAULT_CONTENT_LIMITS,
      downloadRate: LENGTH / 4,
    });
    const child = await scene.cluster.addNode("child", {
      script: scene.toParents(...names),
      contentLimits,
      limits: { hedgeMs: 500 },
    });
    const read = scene.cluster.origin.servedLength;
    await child.download();
    await scene.assertWhole(child);
    const asked = parents.flatMap((parent) => parent.asked);
    expect(asked.toSorted()).toEqual(
      Array.from({ length: PIECE_COUNT }, (_, number) => `${number} from 0`),
    );
    expect(child.sessions[0]?.reports.filter((report) => report.startsWith("resch"))).toEqual([]);
    expect(scene.cluster.origin.servedLength).toBe(read);
  });

  it("blames nobody while it has no memory for its pieces, and says that it waits for some", async ({
    scene,
    expect,
  }) => {
    const parent = await scene.addParent("one");
    const contentLimits = new ContentLimits({ ...DEFAULT_CONTENT_LIMITS, memoryLimit: 1 });
    // Somebody else's piece, which takes its time.
    const other = await contentLimits.openPiece(1, new AbortController().signal, async () => ({
      content: (async function* () {})(),
      async [Symbol.asyncDispose]() {},
    }));
    const child = await scene.cluster.addNode("child", {
      script: scene.toParents("one"),
      contentLimits,
      limits: { hedgeMs: 2_000 },
    });
    const download = child.download();
    await expect
      .poll(() => child.manager.report()[0]?.state, { timeout: 10_000, interval: 50 })
      .toBe("memory");
    expect(child.manager.report()[0]?.description).toBe(
      "other downloads have had all the memory for content",
    );
    // Longer than what it would take for help to be sought.
    await expect
      .poll(() => child.manager.report()[0]?.waitedMs, { timeout: 10_000, interval: 50 })
      .toBeGreaterThan(4_000);
    expect(parent.asked).toEqual([]);
    await other[Symbol.asyncDispose]();
    await download;
    await scene.assertWhole(child);
    expect(parent.asked).toHaveLength(PIECE_COUNT);
    expect(child.sessions[0]?.reports.filter((report) => report.startsWith("resch"))).toEqual([]);
  });

  it("never mixes in an origin that has changed meanwhile", async ({ scene }) => {
    await scene.addParent("frozen", { sendsTo: HALF });
    const changed = Buffer.from(scene.cluster.origin.content).fill(7);
    let count = 0;
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        count += 1;
        if (count > 1) return session.say({ kind: "origin", reason: "anew" });
        scene.toParents("frozen")(session);
        session.onReschedule = () => {
          scene.cluster.origin.content = changed;
          scene.cluster.origin.etag = '"2"';
          session.say({ kind: "origin", reason: "it is your turn" });
        };
      },
      limits: { hedgeMs: 300 },
    });
    await child.download();
    await scene.assertWhole(child);
  });

  it("takes a file of which nobody can tell the version from one reading, and nothing of it from parents", async ({
    scene,
    expect,
  }) => {
    Object.assign(scene.cluster.origin, { etag: "", lastModified: "", rangeable: false });
    const crawling = await scene.addParent("crawling", { sendsTo: 100, crawlMs: 200 });
    const read = scene.cluster.origin.servedLength;
    const child = await scene.cluster.addNode("child", { script: scene.toParents("crawling") });
    const download = child.download();
    await expect.poll(() => crawling.asked.length, { timeout: 10_000 }).toBeGreaterThan(0);
    const [session] = child.sessions;
    session?.say({ kind: "origin", reason: "it is your turn" });
    // They are told of once more, and it is no use.
    scene.toParents("crawling")(session!);
    await download;
    await scene.assertWhole(child);
    expect(scene.cluster.origin.servedLength - read).toBe(LENGTH);
    expect(new Set(session?.pieces.map(([, from]) => from))).toEqual(new Set(["origin"]));
    expect(session?.reports.filter((report) => report.includes("failed"))).toEqual([]);
  });

  // Each of these waits for fifteen seconds or more: side by side.
  it.concurrent("does not ask an origin that it must not ask, and ends with who failed", async ({
    scene,
    expect,
  }) => {
    await scene.addParent("frozen", { sendsTo: HALF });
    const read = scene.cluster.origin.servedLength;
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents("frozen")(session);
        session.onReschedule = () => session.say({ kind: "origin", reason: "it is your turn" });
      },
      limits: { hedgeMs: 300 },
    });
    await expect(child.download({ disableBackToSource: true })).rejects.toMatchObject({
      code: "ERR_NO_SOURCE",
    });
    expect(scene.cluster.origin.servedLength).toBe(read);
  });

  it.concurrent("leaves an origin alone that is being spared, also for the rests of pieces, and tells its guard how it fails", async ({
    scene,
    expect,
  }) => {
    const frozen = await scene.addParent("frozen", { sendsTo: HALF });
    const rests: number[] = [];
    const noted: unknown[] = [];
    let isSpared = true;
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents("frozen")(session);
        session.onReschedule = () => session.say({ kind: "origin", reason: "it is your turn" });
      },
      limits: { hedgeMs: 300 },
      guard: {
        watch: () => () => {},
        mayAsk: () => !isSpared,
        noteFailure: ({ url }, error) => void noted.push(url, error),
      },
    });
    const failure = new OriginError("ERR_ORIGIN_UNREACHABLE", "connect ECONNREFUSED");
    scene.cluster.origin.beforeRead = ({ offset }) => {
      if (offset % PIECE_LENGTH === 0) return;
      rests.push(offset);
      if (rests.length === 1) throw failure;
    };
    const download = child.download();
    const silences = (): number[] => {
      const [report] = child.manager.report();
      return report?.transfer?.pieces.map(({ silentMs }) => silentMs) ?? [];
    };
    // The origin would have been asked for the rests after five seconds.
    await expect
      .poll(() => Math.max(0, ...silences()), { timeout: 20_000, interval: 50 })
      .toBeGreaterThan(6_000);
    expect(frozen.asked.length).toBeGreaterThan(0);
    expect(rests).toEqual([]);
    isSpared = false;
    await download;
    await scene.assertWhole(child);
    expect(rests.length).toBeGreaterThan(1);
    expect(noted).toEqual(["http://origin.test/file", failure]);
  });

  it.concurrent("reads what crawls where the origin serves no ranges, and the rest of a piece cannot be had", async ({
    scene,
    expect,
  }) => {
    scene.cluster.origin.rangeable = false;
    const crawling = await scene.addParent("crawling", { sendsTo: 100, crawlMs: 200 });
    const child = await scene.cluster.addNode("child", {
      script: (session) => {
        scene.toParents("crawling")(session);
        session.onReschedule = () => session.say({ kind: "origin", reason: "it is your turn" });
      },
      limits: { hedgeMs: 300, hopelessMs: 500 },
    });
    await child.download();
    await scene.assertWhole(child);
    expect(crawling.asked.length).toBeGreaterThan(0);
    expect(child.sessions[0]?.pieces.map(([, from]) => from)).not.toContain("peer-crawling");
  });
});
