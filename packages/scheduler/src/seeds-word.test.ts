import { describe, expect, it } from "vitest";
import { TestCluster, type FakePeer } from "./test-cluster.ts";

const PIECE_COUNT = 10;
const OURS = { version: 1, plainPeers: true };

/** A scheduler that has just been started: a peer says that it has the whole task, and nobody has told a digest. */
function openRestarted(options: { readonly seed?: boolean } = {}) {
  const cluster = new TestCluster();
  if (options.seed !== false) cluster.host("seed", { type: 1, extension: OURS });
  cluster.host("liar", { extension: OURS });
  const liar = cluster.register("liar", { download: { metadataOnly: true } });
  return { cluster, liar, join: (name: string) => enter(cluster, name) };
}

function enter(cluster: TestCluster, name: string): FakePeer {
  cluster.host(name, { extension: OURS });
  return cluster.join(name);
}

/** What a seed says that has the whole task, all of it read at the origin. */
function announce(cluster: TestCluster): FakePeer {
  const download = { metadataOnly: true };
  const seed = cluster.register("s", { host: "seed", download, contentVersion: "1" });
  for (let number = 0; number < PIECE_COUNT; number += 1)
    cluster.scheduling.pieceHeld(seed.peer, number, factsOf(number));
  return seed;
}

function finish(cluster: TestCluster, seed: FakePeer): void {
  cluster.scheduling.started(seed.peer);
  cluster.scheduling.finished(seed.peer);
}

function factsOf(number: number, digest: string = `crc32:${number}`) {
  return { number, offset: number * 4, length: 4, digest };
}

const TRUTH = Object.fromEntries(
  Array.from({ length: PIECE_COUNT }, (_, number) => [number, `crc32:${number}`]),
);

describe("a scheduler that was started anew", () => {
  it("names no holder before the seed has said which digests it has, and tells them with it", () => {
    const { cluster, join } = openRestarted();
    const child = join("child");
    expect(cluster.inquiries).toEqual(["seed"]);
    cluster.advance(1_000);
    expect(child.told).toEqual([]);
    const seed = announce(cluster);
    cluster.advance(1_000);
    expect([child.lastParents, child.digests]).toEqual([["s"], TRUTH]);
    finish(cluster, seed);
    cluster.advance(1_000);
    expect(child.lastParents.toSorted()).toEqual(["liar", "s"]);
  });

  it.each([
    ["has everything", () => {}],
    [
      "has some of it",
      ({ cluster, liar }: ReturnType<typeof openRestarted>) => {
        cluster.scheduling.deletePeer("task", liar.peer.id);
        const partly = cluster.join("liar");
        cluster.scheduling.started(partly.peer);
        for (const number of [0, 1]) cluster.scheduling.pieceHeld(partly.peer, number);
      },
    ],
    [
      "reads the origin and tells digests",
      ({ cluster, liar }: ReturnType<typeof openRestarted>) => {
        cluster.scheduling.deletePeer("task", liar.peer.id);
        const reader = cluster.join("liar", { download: { needBackToSource: true } });
        cluster.originPiece(reader, 0, "crc32:bad");
      },
    ],
  ])("names nobody who says that he %s to a child that asks meanwhile", (_, prepare) => {
    const restarted = openRestarted();
    const { cluster, join } = restarted;
    prepare(restarted);
    const child = join("child");
    cluster.advance(2_000);
    expect(child.told).toEqual([]);
    finish(cluster, announce(cluster));
    cluster.advance(1_000);
    expect(child.lastParents).toContain("s");
    expect(child.digests).toEqual(TRUTH);
  });

  it("asks a seed once for a task, whoever asks and however often", () => {
    const { cluster, join } = openRestarted();
    const children = ["a", "b", "c"].map(join);
    cluster.advance(1_000);
    cluster.scheduling.reschedule(children[0]!.peer, []);
    cluster.scheduling.seedLacks("task");
    cluster.advance(60_000);
    join("d");
    expect(cluster.inquiries).toEqual(["seed"]);
  });

  it("sends nobody to the origin while the seed is asked", () => {
    const { cluster, join } = openRestarted();
    const child = join("child");
    cluster.advance(2_500);
    expect([child.kinds, cluster.seedsAsked]).toEqual([[], []]);
  });

  it.each([
    ["has not all of it", (cluster: TestCluster) => cluster.scheduling.seedLacks("task")],
    ["says nothing for three seconds", (cluster: TestCluster) => cluster.advance(3_000)],
  ])("names those who say that they have it when the seed %s", (_, happen) => {
    const { cluster, join } = openRestarted();
    const child = join("child");
    happen(cluster);
    expect(child.lastParents).toEqual(["liar"]);
  });

  it("keeps nobody waiting where there is no seed, or none that could be asked", () => {
    const without = openRestarted({ seed: false });
    expect(without.join("child").lastParents).toEqual(["liar"]);
    const full = openRestarted();
    full.cluster.canAskSeeds = false;
    expect(full.join("child").lastParents).toEqual(["liar"]);
    const dragonflys = openRestarted({ seed: false });
    dragonflys.cluster.seed("seed");
    expect(dragonflys.join("child").lastParents).toEqual(["liar"]);
    expect(dragonflys.cluster.inquiries).toEqual([]);
  });

  it("keeps none of Dragonfly's peers waiting, which have no use for digests", () => {
    const { cluster } = openRestarted();
    expect(cluster.register("theirs", { pushes: false }).lastParents).toEqual(["liar"]);
    expect(cluster.inquiries).toEqual([]);
  });

  it("asks a seed that comes later, and tells those who have their parents already", () => {
    const { cluster, join } = openRestarted({ seed: false });
    const child = join("child");
    expect([child.lastParents, child.digests]).toEqual([["liar"], {}]);
    cluster.host("seed", { type: 1, extension: OURS });
    cluster.advance(1_000);
    expect(cluster.inquiries).toEqual(["seed"]);
    finish(cluster, announce(cluster));
    cluster.advance(1_000);
    expect(child.digests).toEqual(TRUTH);
  });

  it("has nothing to ask where the seed reads the origin anyway", () => {
    const cluster = new TestCluster();
    cluster.host("seed", { type: 1, extension: OURS });
    enter(cluster, "first");
    const seed = cluster.join("s", { host: "seed", download: { needBackToSource: true } });
    cluster.originPiece(seed, 0);
    const children = ["a", "b", "c"].map((name) => enter(cluster, name));
    cluster.advance(5_000);
    for (const child of children) expect(child.peer.parents.size).toBeGreaterThan(1);
    expect(cluster.inquiries).toEqual([]);
  });
});

describe("the word of a seed that has read the origin", () => {
  it("counts more than that of a peer that says it has, whoever was first", () => {
    const { cluster, liar, join } = openRestarted({ seed: false });
    cluster.scheduling.deletePeer("task", liar.peer.id);
    const reader = cluster.join("liar", { download: { needBackToSource: true } });
    const child = join("child");
    for (let number = 0; number < PIECE_COUNT; number += 1)
      cluster.originPiece(reader, number, number === 0 ? "crc32:0" : "crc32:bad");
    cluster.advance(1_000);
    expect(child.digests[1]).toBe("crc32:bad");
    cluster.host("seed", { type: 1, extension: OURS });
    finish(cluster, announce(cluster));
    cluster.originPiece(reader, 1, "crc32:bad");
    cluster.advance(1_000);
    expect(child.digests).toEqual(TRUTH);
    expect(cluster.scheduling.task("task").digests).toHaveLength(PIECE_COUNT);
  });

  it("is not taken where it is of another version than the one that is read now", () => {
    const { cluster, liar } = openRestarted();
    cluster.scheduling.deletePeer("task", liar.peer.id);
    const reader = cluster.join("r", {
      contentVersion: "2",
      download: { needBackToSource: true },
    });
    cluster.originPiece(reader, 0, "crc32:2");
    finish(cluster, announce(cluster));
    expect(reader.peer.task.digests.map(({ digest }) => digest)).toEqual(["crc32:2"]);
    expect(cluster.join("c", { contentVersion: "2" }).digests).toEqual({ 0: "crc32:2" });
    expect(cluster.join("d", { contentVersion: "1" }).digests).toEqual(TRUTH);
  });

  it("is not forgotten for what others say of another version, and nobody who wants this one is told that", () => {
    const cluster = new TestCluster();
    cluster.host("seed", { type: 1, extension: OURS });
    const download = { needBackToSource: true };
    const seed = cluster.join("s", { host: "seed", download });
    for (let number = 0; number < PIECE_COUNT; number += 1) cluster.originPiece(seed, number);
    cluster.scheduling.finished(seed.peer);
    const child = cluster.join("child");
    const reader = cluster.join("liar", { contentVersion: "2", download });
    for (let number = 0; number < PIECE_COUNT; number += 1)
      cluster.originPiece(reader, number, "crc32:bad");
    expect(cluster.join("d", { contentVersion: "2" }).digests).toMatchObject({ 0: "crc32:bad" });
    cluster.scheduling.failed(reader.peer);
    cluster.register("liar2", { host: "liar", download: { metadataOnly: true } });
    cluster.advance(1_000);
    expect([child.digests, cluster.join("late").digests]).toEqual([TRUTH, TRUTH]);
  });

  it("stands when the seed says the same under another name, and somebody else reads something else", () => {
    const cluster = new TestCluster();
    cluster.host("seed", { type: 1, extension: OURS });
    const download = { needBackToSource: true };
    const first = cluster.join("first", { host: "seed", download });
    for (let number = 0; number < PIECE_COUNT; number += 1) cluster.originPiece(first, number);
    cluster.scheduling.finished(first.peer);
    finish(cluster, announce(cluster));
    expect(first.peer.task.peers.has("first")).toBe(false);
    const liar = cluster.join("liar", { download });
    for (let number = 0; number < PIECE_COUNT; number += 1)
      cluster.originPiece(liar, number, "crc32:bad");
    cluster.advance(1_000);
    expect(cluster.join("child").digests).toEqual(TRUTH);
  });

  it("stands where it is all there is of some pieces, and somebody else's word of others is replaced", () => {
    const cluster = new TestCluster();
    const download = { needBackToSource: true };
    const reader = cluster.join("reader", { download });
    for (const number of [0, 1]) cluster.originPiece(reader, number, "crc32:old");
    cluster.host("seed", { type: 1, extension: OURS });
    const seed = cluster.join("s", { host: "seed", download });
    for (let number = 2; number < PIECE_COUNT; number += 1) cluster.originPiece(seed, number);
    cluster.scheduling.finished(seed.peer);
    cluster.scheduling.deletePeer("task", "reader");
    const next = cluster.join("next", { download });
    for (const number of [0, 1]) cluster.originPiece(next, number);
    expect(next.peer.task.digests).toHaveLength(PIECE_COUNT);
    expect(cluster.join("child").digests).toEqual(TRUTH);
  });

  it("is no digest of anybody else's: who only says that he has read it is not believed", () => {
    const { cluster, liar } = openRestarted();
    cluster.scheduling.pieceHeld(liar.peer, 0, factsOf(0, "crc32:bad"));
    expect(liar.peer.task.digests).toEqual([]);
  });
});
