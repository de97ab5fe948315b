import { describe, expect, it } from "vitest";
import { FakePeer, TestCluster } from "./test-cluster.ts";

const LEASE_MS = 11_000; // 10 s, and one second for a piece of 4 MiB

/** Whoever has the turn gets bytes. */
function renewLease({ scheduling }: TestCluster): void {
  const { lease } = scheduling.task("task");
  if (lease !== undefined) scheduling.originStarted(lease.holder);
}

/** One that has lost its turn to another, and brings a piece only then. */
function openSlowReader(): {
  readonly cluster: TestCluster;
  readonly slow: FakePeer;
  readonly quick: FakePeer;
} {
  const cluster = new TestCluster();
  const slow = cluster.join("a");
  const quick = cluster.join("b");
  cluster.advance(LEASE_MS + 200);
  expect(quick.peer.holdsLease).toBe(true);
  cluster.originPiece(slow, 0);
  return { cluster, slow, quick };
}

describe("the turn at the origin", () => {
  it("passes to a listening peer as soon as the reader's stream ends", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b");
    cluster.scheduling.gone(reader.peer);
    expect(child.kinds).toEqual(["parents", "origin"]);
  });

  it("passes to the one who has most", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const children = ["b", "c", "d"].map((name) => cluster.join(name));
    for (const [index, child] of children.entries()) {
      for (let piece = 0; piece < index; piece += 1)
        cluster.scheduling.pieceFinished(child.peer, piece, "a");
    }
    cluster.scheduling.failed(reader.peer);
    expect(children.map(({ kinds }) => kinds.includes("origin"))).toEqual([false, false, true]);
  });

  it("stays with a reader that makes progress, however slow", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b");
    for (let piece = 0; piece < 9; piece += 1) {
      cluster.advance(LEASE_MS - 1_000);
      cluster.originPiece(reader, piece);
    }
    expect(child.kinds).not.toContain("origin");
  });

  it("passes on when the reader makes none", () => {
    const cluster = new TestCluster();
    cluster.join("a");
    const child = cluster.join("b");
    cluster.advance(LEASE_MS + 200);
    expect(child.kinds).toContain("origin");
    expect(cluster.log).toContain("peer makes no progress at the origin, another one takes over");
  });

  it("lasts longer when pieces are large and many are read at once", () => {
    const cluster = new TestCluster();
    const download = { actualPieceLength: 64 * 1024 * 1024, concurrentPieceCount: 4 };
    cluster.join("a", { download });
    const child = cluster.join("b", { download });
    cluster.advance(70_000);
    expect(child.kinds).not.toContain("origin");
    cluster.advance(10_000);
    expect(child.kinds).toContain("origin");
  });

  it("stays with a stalled reader while there is nobody else", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.advance(5 * LEASE_MS);
    expect(reader.peer.holdsLease).toBe(true);
    const late = cluster.join("b");
    expect(late.kinds).toContain("origin");
  });

  it("is found again by a reader that was only slow, if nobody has it", () => {
    const { cluster, slow, quick } = openSlowReader();
    expect(slow.peer.holdsLease).toBe(false);
    cluster.scheduling.failed(quick.peer);
    cluster.originPiece(slow, 1);
    expect(slow.peer.holdsLease).toBe(true);
  });

  it("is found again by a reader that goes on while a seed is asked to take over", () => {
    const cluster = new TestCluster();
    const slow = cluster.join("a");
    cluster.seed("seed");
    cluster.advance(LEASE_MS);
    const waiting = cluster.register("b", { pushes: false });
    expect([waiting.kinds, cluster.seedsAsked]).toEqual([["parents"], ["seed"]]);
    cluster.originPiece(slow, 0);
    expect(slow.peer.holdsLease).toBe(true);
    expect(cluster.seedsCancelled).toEqual(["seed"]);
    const late = cluster.join("s", { host: "seed", download: { needBackToSource: true } });
    expect(late.kinds).toEqual(["parents"]);
  });

  it("goes back to a reader that stalled when the one who took over leaves", () => {
    const cluster = new TestCluster();
    const stalled = cluster.join("a");
    const second = cluster.join("b");
    cluster.advance(LEASE_MS + 200);
    expect(second.peer.holdsLease).toBe(true);
    cluster.scheduling.gone(second.peer);
    expect(stalled.peer.holdsLease).toBe(true);
  });

  it("is not taken from a stalled reader when somebody has the whole task", () => {
    const cluster = new TestCluster();
    const stalled = cluster.join("a");
    cluster.register("b", { download: { metadataOnly: true } });
    cluster.join("c");
    cluster.advance(2 * LEASE_MS);
    expect(stalled.peer.holdsLease).toBe(true);
  });

  it("comes to one of those who wait for each other once the only one with the whole task has failed them all", () => {
    const cluster = new TestCluster();
    const liar = cluster.register("liar", { download: { metadataOnly: true } });
    const [a, b] = ["a", "b"].map((name) => cluster.join(name));
    const fail = (child: FakePeer): void =>
      cluster.scheduling.pieceFailed(child.peer, { parentId: liar.peer.id, temporary: false });
    fail(a!);
    cluster.advance(1_000);
    expect([...a!.kinds, ...b!.kinds]).not.toContain("origin");
    fail(b!);
    cluster.advance(1_000);
    expect([a!, b!].filter(({ kinds }) => kinds.includes("origin"))).toHaveLength(1);
  });

  it.each([
    [20, 500, 1_000],
    [40, 500, 1_000],
    [20, 1_000, 3_000],
  ])(
    "comes to one of %i who come every %i ms when each finds the only holder dead after %i ms, once several have",
    (childCount, intervalMs, foundAfterMs) => {
      const cluster = new TestCluster();
      cluster.register("dead", { download: { metadataOnly: true } });
      /** When each child was first told of the holder, and when any was sent to the origin. */
      const namedMs = new Map<FakePeer, number>();
      const sentMs: number[] = [];
      const startMs = cluster.nowMs;
      for (let count = 0; count < childCount; count += 1) {
        const fake = new FakePeer();
        const onTold = (): void => {
          if (fake.lastParents.includes("dead") && !namedMs.has(fake))
            namedMs.set(fake, cluster.nowMs);
          if (fake.kinds.at(-1) === "origin") sentMs.push(cluster.nowMs - startMs);
        };
        cluster.join(`child${count}`, { fake, onTold });
        for (let passedMs = 0; passedMs < intervalMs; passedMs += 100) {
          cluster.advance(100);
          for (const [{ peer }, atMs] of namedMs)
            if (cluster.nowMs - atMs === foundAfterMs)
              cluster.scheduling.pieceFailed(peer, { parentId: "dead", temporary: false });
          renewLease(cluster);
        }
      }
      expect(sentMs).toHaveLength(1);
      expect(sentMs[0]).toBeLessThanOrEqual(10_000);
    },
  );

  it("comes to one at most of those whom two keep telling that the only holder is dead", () => {
    const cluster = new TestCluster();
    cluster.register("holder", { download: { metadataOnly: true } });
    const liars = ["liar0", "liar1"].map((name) => cluster.join(name));
    const children: FakePeer[] = [];
    for (let count = 0; count < 20; count += 1) {
      children.push(cluster.join(`child${count}`));
      for (const { peer } of liars)
        cluster.scheduling.pieceFailed(peer, { parentId: "holder", temporary: false });
      cluster.advance(500);
      renewLease(cluster);
    }
    const readers = [...liars, ...children].filter(({ kinds }) => kinds.includes("origin"));
    expect(readers).toHaveLength(1);
    expect(children.filter(({ peer }) => peer.parents.size === 0)).toEqual([]);
  });

  it("comes to nobody while the only holder serves some, though others give it up", () => {
    const cluster = new TestCluster();
    cluster.register("holder", { download: { metadataOnly: true } });
    const children = ["a", "b", "c"].map((name) => cluster.join(name));
    for (let number = 0; number < 9; number += 1) {
      const [unlucky, lucky] = [children[number % 2]!, children[2]!];
      cluster.scheduling.pieceFailed(unlucky.peer, { parentId: "holder", temporary: false });
      cluster.advance(100);
      cluster.scheduling.pieceFinished(lucky.peer, number, "holder");
    }
    expect(children.flatMap(({ kinds }) => kinds)).not.toContain("origin");
  });

  it("is not a seed's that has another version of the file: it would say again and again that it has it", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const changed = cluster.join("a", { contentVersion: "2" });
    expect(cluster.seedsAsked).toEqual(["seed"]);
    const held = { contentVersion: "1", host: "seed", download: { metadataOnly: true } };
    cluster.register("s", held);
    cluster.scheduling.seedHolds("task", { hostId: "seed", peerId: "s" });
    cluster.advance(LEASE_MS);
    expect(cluster.seedsAsked).toEqual(["seed"]);
    expect(changed.kinds).toEqual(["origin"]);
  });

  it("is not a seed's that has the whole task and has failed all who want it: it would say again and again that it has it", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const child = cluster.join("a");
    const holds = (): void => cluster.scheduling.seedHolds("task", { hostId: "seed", peerId: "s" });
    holds();
    expect(child.lastParents).toEqual(["s"]);
    cluster.scheduling.pieceFailed(child.peer, { parentId: "s", temporary: false });
    for (let asked = 1; asked < Math.min(cluster.seedsAsked.length, 100); asked += 1) holds();
    cluster.advance(1_000);
    expect(cluster.seedsAsked).toEqual(["seed"]);
    expect(child.kinds).toEqual(["parents", "origin"]);
  });

  it("comes to a peer without the extension when it asks", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const [first, second] = [
      cluster.join("b", { pushes: false }),
      cluster.join("c", { pushes: false }),
    ];
    cluster.scheduling.gone(reader.peer);
    cluster.advance(1_000);
    expect(first.kinds).toEqual(["parents"]);
    cluster.scheduling.reschedule(second.peer, ["a"]);
    expect(second.kinds).toEqual(["parents", "origin"]);
    cluster.scheduling.reschedule(first.peer, ["a"]);
    expect(first.lastParents).toEqual(["c"]);
  });

  it("gives a new reader those as parents who have something it lacks", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const [child, idle] = [cluster.join("b"), cluster.join("c", { pushes: false })];
    cluster.scheduling.pieceFinished(child.peer, 0, "a");
    cluster.scheduling.gone(reader.peer);
    cluster.scheduling.gone(child.peer);
    const third = cluster.join("d");
    expect(third.kinds).toEqual(["origin"]);
    cluster.scheduling.pieceFinished(idle.peer, 3);
    cluster.advance(2_000);
    expect(third.lastParents).toEqual(["c"]);
  });

  it("is told again to a reader that asks what to do", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.scheduling.reschedule(reader.peer, []);
    expect(reader.kinds).toEqual(["origin", "origin"]);
  });

  it("goes to nobody when one has the whole task", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b");
    for (let piece = 0; piece < 10; piece += 1) cluster.originPiece(reader, piece);
    cluster.scheduling.finished(reader.peer);
    cluster.advance(60_000);
    expect(child.kinds).not.toContain("origin");
  });

  it("is taken outside of all rules by a user who insists", () => {
    const cluster = new TestCluster();
    cluster.join("a");
    const insistent = cluster.register("b", { download: { needBackToSource: true } });
    expect(insistent.kinds).toEqual(["origin"]);
    expect(insistent.peer.holdsLease).toBe(false);
  });

  it("is refused to one who may not read the origin, after the retries", () => {
    const cluster = new TestCluster();
    const peer = cluster.register("a", { download: { disableBackToSource: true } });
    cluster.advance(2_400);
    expect(peer.kinds).toEqual([]);
    cluster.advance(100);
    expect(peer.refusal?.code).toBe("ERR_NO_PARENT");
    expect(peer.refusal?.message).toContain("it may not read the origin");
  });

  it("is refused when too many read the origin already", () => {
    const cluster = new TestCluster({ backToSourceCount: 1 });
    const reader = cluster.join("a");
    const sibling = cluster.register("a2", { host: "a" });
    cluster.advance(2_500);
    expect(sibling.refusal?.code).toBe("ERR_NO_PARENT");
    expect(reader.peer.holdsLease).toBe(true);
  });

  it.each([
    ["LEVEL1", "ERR_FORBIDDEN"],
    ["LEVEL2", "ERR_PEER_NOT_FOUND"],
  ] as const)("is refused to priority %s", (priority, code) => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const peer = cluster.register("a", { download: { priority } });
    expect(peer.refusal?.code).toBe(code);
    expect(cluster.seedsAsked).toEqual([]);
    cluster.join("b", { download: { needBackToSource: true } });
    expect(cluster.join("c", { download: { priority } }).lastParents).toEqual(["b"]);
  });
});

describe("seeds", () => {
  it("are asked first, and their peer reads the origin", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const peer = cluster.register("a");
    expect([peer.kinds, cluster.seedsAsked]).toEqual([[], ["seed"]]);
    const seed = cluster.join("s", { host: "seed", download: { needBackToSource: true } });
    expect(seed.peer.holdsLease).toBe(true);
    expect(peer.lastParents).toEqual(["s"]);
  });

  it("are asked once, however many wait", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    for (const name of ["a", "b", "c"]) cluster.register(name);
    cluster.advance(1_000);
    expect(cluster.seedsAsked).toEqual(["seed"]);
  });

  it("are asked one after the other, then it is a normal peer's turn", () => {
    const cluster = new TestCluster();
    for (const name of ["seed1", "seed2"]) cluster.seed(name);
    const peer = cluster.register("a");
    cluster.scheduling.seedFailed("task", cluster.seedsAsked[0] ?? "");
    expect(new Set(cluster.seedsAsked)).toEqual(new Set(["seed1", "seed2"]));
    cluster.advance(cluster.config.seedRegistrationMs);
    expect(peer.kinds).toEqual(["origin"]);
  });

  it("are the same for the same task", () => {
    const asked = Array.from({ length: 4 }, () => {
      const cluster = new TestCluster({}, Math.random);
      for (const name of ["seed1", "seed2", "seed3"]) cluster.seed(name);
      cluster.register("a");
      return cluster.seedsAsked[0];
    });
    expect(new Set(asked).size).toBe(1);
  });

  it("have no claim any more when they come too late", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const peer = cluster.register("a");
    cluster.advance(cluster.config.seedRegistrationMs);
    expect(peer.kinds).toEqual(["origin"]);
    expect(cluster.seedsCancelled).toEqual(["seed"]);
    const late = cluster.join("s", { host: "seed", download: { needBackToSource: true } });
    expect(late.lastParents).toEqual(["a"]);
  });

  it("serve at once what they have already", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const peer = cluster.register("a");
    cluster.scheduling.seedHolds("task", { hostId: "seed", peerId: "s" });
    expect(peer.lastParents).toEqual(["s"]);
    expect(cluster.join("b").lastParents).toContain("s");
  });

  it("are not asked again when one dies mid-way and others have a part", () => {
    const cluster = new TestCluster();
    for (const name of ["seed1", "seed2"]) cluster.seed(name);
    const peer = cluster.register("a");
    const seed = cluster.join("s", {
      host: cluster.seedsAsked[0] ?? "",
      download: { needBackToSource: true },
    });
    cluster.obey(peer);
    cluster.originPiece(seed, 0);
    cluster.scheduling.pieceFinished(peer.peer, 0, "s");
    cluster.scheduling.gone(seed.peer);
    expect(peer.kinds).toEqual(["parents", "origin"]);
    expect(cluster.seedsAsked).toHaveLength(1);
  });

  it("are asked again when one dies before anybody has a part", () => {
    const cluster = new TestCluster();
    for (const name of ["seed1", "seed2"]) cluster.seed(name);
    const peer = cluster.register("a");
    const seed = cluster.join("s", {
      host: cluster.seedsAsked[0] ?? "",
      download: { needBackToSource: true },
    });
    cluster.obey(peer);
    cluster.scheduling.gone(seed.peer);
    expect(new Set(cluster.seedsAsked)).toEqual(new Set(["seed1", "seed2"]));
  });

  it("are not waited for when the host goes away", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    const peer = cluster.register("a");
    cluster.scheduling.deleteHost("seed");
    expect(peer.kinds).toEqual(["origin"]);
  });

  it("are left alone for priority 3", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    expect(cluster.register("a", { download: { priority: "LEVEL3" } }).kinds).toEqual(["origin"]);
    expect(cluster.seedsAsked).toEqual([]);
  });
});

describe("digests", () => {
  it("are those of the first reader while it is here", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.originPiece(reader, 0, "crc32:1");
    const liar = cluster.join("b", { download: { needBackToSource: true } });
    cluster.originPiece(liar, 0, "crc32:2");
    expect(cluster.scheduling.task("task").digests.map(({ digest }) => digest)).toEqual([
      "crc32:1",
    ]);
    expect(cluster.log).toContain("peer read another piece from the origin than the one before it");
  });

  it("are forgotten when that one is gone and the next finds others", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.originPiece(reader, 0, "crc32:1");
    cluster.originPiece(reader, 1, "crc32:1");
    const next = cluster.join("b");
    cluster.scheduling.gone(reader.peer);
    cluster.originPiece(next, 0, "crc32:2");
    expect(cluster.scheduling.task("task").digests.map(({ digest }) => digest)).toEqual([
      "crc32:2",
    ]);
  });

  it("are taken from nobody who was not sent to the origin", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b");
    cluster.scheduling.originStarted(child.peer);
    cluster.originPiece(child, 0, "crc32:666");
    cluster.originPiece(child, 10);
    expect(cluster.scheduling.task("task").digests).toEqual([]);
    expect(child.peer.pieces.size).toBe(1);
    expect(child.peer.pieces.has(0)).toBe(true);
    cluster.originPiece(reader, 0);
    expect(cluster.join("c").digests).toEqual({ 0: "crc32:0" });
  });

  it("are taken from nobody who reads it because its user says so, while another one does for all", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const insistent = cluster.join("b", { download: { needBackToSource: true } });
    cluster.originPiece(insistent, 0, "crc32:666");
    expect(reader.peer.task.digests).toEqual([]);
    cluster.originPiece(reader, 0);
    cluster.scheduling.finished(reader.peer);
    cluster.originPiece(insistent, 1);
    expect(cluster.join("c").digests).toEqual({ 0: "crc32:0", 1: "crc32:1" });
  });

  it("are taken from a reader that was only slow, too", () => {
    const { quick } = openSlowReader();
    expect(quick.peer.task.digests).toHaveLength(1);
  });
});
