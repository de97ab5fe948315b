import { describe, expect, it } from "vitest";
import { TestCluster, hostFacts } from "./test-cluster.ts";

describe("Scheduling of hosts", () => {
  it("refuses a peer whose host is unknown, in the words Dragonfly's daemons know", () => {
    const { scheduling } = new TestCluster();
    expect(() => scheduling.host("a")).toThrow("host a not found");
  });

  it("refuses a second living daemon with the same id and says what to do", () => {
    const cluster = new TestCluster();
    cluster.host("a");
    expect(() => cluster.host("a", { port: 4001 })).toThrow(
      /127\.0\.0\.1:4000 has this id; two daemons on one machine need different hostnames/,
    );
    expect(cluster.host("a").facts.port).toBe(4000);
  });

  it("lets a daemon take over the id of one that is known to be gone, and forgets its peers", () => {
    const cluster = new TestCluster();
    const old = cluster.join("a");
    cluster.scheduling.announceHost(hostFacts("a", { port: 4001 }), { evict: true });
    expect(old.refusal?.code).toBe("ERR_PEER_GONE");
    expect(cluster.scheduling.host("a").facts.port).toBe(4001);
  });

  it("forgets a host that misses two announcements, and its peers with it", () => {
    const cluster = new TestCluster();
    cluster.scheduling.announceHost(hostFacts("a"), { intervalMs: 1_000 });
    const reader = cluster.join("a");
    const waiting = cluster.join("b", { download: { disableBackToSource: true } });
    expect(waiting.lastParents).toEqual(["a"]);
    cluster.advance(2_000);
    expect(reader.refusal?.code).toBe("ERR_PEER_GONE");
    expect(() => cluster.scheduling.host("a")).toThrow("not found");
    expect(waiting.peer.parents.size).toBe(0);
  });

  it("keeps a host that goes on announcing itself", () => {
    const cluster = new TestCluster();
    for (let round = 0; round < 5; round += 1) {
      cluster.scheduling.announceHost(hostFacts("a"), { intervalMs: 1_000 });
      cluster.advance(1_500);
    }
    expect(cluster.scheduling.host("a").id).toBe("a");
  });

  it("forgets a task after its last peer", () => {
    const cluster = new TestCluster();
    const only = cluster.join("a");
    cluster.scheduling.failed(only.peer);
    expect(cluster.scheduling.task("task").state).toBe("Failed");
    cluster.advance(120_000);
    expect(() => cluster.scheduling.task("task")).toThrow("task task not found");
  });

  it("forgets a peer that has said nothing for half an hour", () => {
    const cluster = new TestCluster({ tickMs: 10_000 });
    const silent = cluster.join("a");
    cluster.advance(31 * 60_000);
    expect(silent.refusal?.code).toBe("ERR_PEER_GONE");
  });
});

describe("Scheduling of peers", () => {
  it("sends the first peer to the origin and the second to the first", () => {
    const cluster = new TestCluster();
    expect(cluster.register("a").kinds).toEqual(["origin"]);
    expect(cluster.register("b").told).toEqual([{ kind: "parents", parents: ["a"], digests: [] }]);
  });

  it("hands the digests known so far to a new peer, and only the new ones later", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.originPiece(reader, 0);
    const child = cluster.join("b");
    cluster.originPiece(reader, 1);
    cluster.originPiece(reader, 2);
    cluster.advance(1_000);
    expect(
      child.told.map((told) =>
        told.kind === "parents" ? told.digests.map(({ number }) => number) : [],
      ),
    ).toEqual([[0], [1, 2]]);
  });

  it("tells a peer without the extension nothing it did not ask for", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b", { pushes: false });
    for (const name of ["c", "d", "e"]) cluster.join(name);
    cluster.originPiece(reader, 0);
    cluster.advance(5_000);
    expect(child.kinds).toEqual(["parents"]);
  });

  it("tells a listening peer of new parents no oftener than allowed", () => {
    const cluster = new TestCluster({ pushIntervalMs: 1_000 });
    cluster.join("a");
    const child = cluster.join("b");
    for (const name of ["c", "d", "e", "f", "g"]) {
      cluster.join(name);
      cluster.advance(100);
    }
    expect(child.told).toHaveLength(1);
    cluster.advance(1_000);
    expect(child.told).toHaveLength(2);
    expect(child.lastParents).toHaveLength(4);
  });

  it("gives the origin's reader to a few children only while others can serve", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    for (let index = 0; index < 30; index += 1) {
      cluster.join(`b${index}`);
      cluster.advance(100);
    }
    cluster.advance(5_000);
    expect(reader.peer.children.size).toBeLessThanOrEqual(cluster.config.readerChildrenMax);
    for (const peer of cluster.scheduling.task("task").peers.values()) {
      if (peer !== reader.peer) expect(peer.parents.size).toBe(cluster.config.parentsPerPeer);
    }
  });

  it("gives the origin's reader even so to one whom nobody else can serve", () => {
    const cluster = new TestCluster();
    cluster.join("a");
    const children = ["b", "c", "d", "e", "f"].map((name) => cluster.register(name));
    expect(children.map(({ kinds }) => kinds.length)).toEqual([1, 1, 1, 1, 0]);
    cluster.advance(cluster.config.retryIntervalMs);
    expect(children[4]?.lastParents).toEqual(["a"]);
  });

  it("does not offer a parent that the child called failed, until a while has passed", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b", { pushes: false });
    cluster.join("c");
    cluster.scheduling.reschedule(child.peer, ["a"]);
    expect(child.lastParents).toEqual(["c"]);
    cluster.scheduling.finished(reader.peer);
    cluster.advance(cluster.config.setAsideMs);
    cluster.scheduling.reschedule(child.peer, ["c"]);
    expect(child.lastParents).toEqual(["a"]);
  });

  it("offers a parent that failed again after all when there is nobody else", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const child = cluster.join("b");
    cluster.scheduling.reschedule(child.peer, ["a"]);
    for (let piece = 0; piece < 9; piece += 1) {
      cluster.advance(3_000);
      cluster.originPiece(reader, piece, "");
    }
    expect(child.kinds).toEqual(["parents", "parents"]);
    expect(child.lastParents).toEqual(["a"]);
  });

  it("sends a child to the origin when the only one who has the task fails it", () => {
    const cluster = new TestCluster();
    cluster.scheduling.finished(cluster.join("a").peer);
    const child = cluster.join("b");
    expect(child.lastParents).toEqual(["a"]);
    cluster.scheduling.reschedule(child.peer, ["a"]);
    expect(child.kinds).toEqual(["parents", "origin"]);
  });

  it("sets a parent aside after a failure for good, or several that are not", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const [first, second] = [cluster.join("b"), cluster.join("c")];
    cluster.scheduling.pieceFailed(first.peer, { parentId: "a", temporary: false });
    expect([...first.peer.parents]).toEqual([]);
    for (let count = 0; count < 3; count += 1) {
      expect(second.peer.parents).toContain(reader.peer);
      cluster.scheduling.pieceFailed(second.peer, { parentId: "a", temporary: true });
    }
    expect(second.peer.parents).not.toContain(reader.peer);
  });

  it("forgives a parent when a piece comes from it", () => {
    const cluster = new TestCluster();
    cluster.join("a");
    const child = cluster.join("b");
    for (let count = 0; count < 5; count += 1) {
      cluster.scheduling.pieceFailed(child.peer, { parentId: "a", temporary: true });
      cluster.scheduling.pieceFinished(child.peer, count, "a");
    }
    expect(child.peer.parents.size).toBe(1);
  });

  it("prefers a parent that nobody complains about", () => {
    const cluster = new TestCluster({ parentsPerPeer: 1 });
    for (const name of ["a", "b"])
      cluster.scheduling.finished(
        cluster.join(name, { download: { needBackToSource: true } }).peer,
      );
    const victim = cluster.join("c");
    const [bad] = victim.lastParents;
    cluster.scheduling.reschedule(victim.peer, [bad ?? ""]);
    expect(cluster.join("d").lastParents).not.toContain(bad);
  });

  it("keeps a finished peer as a parent after its stream has ended", () => {
    const cluster = new TestCluster();
    const first = cluster.join("a");
    cluster.scheduling.finished(first.peer);
    cluster.scheduling.gone(first.peer);
    expect(first.kinds).toEqual(["origin", "end"]);
    expect(cluster.join("b").lastParents).toEqual(["a"]);
  });

  it("forgets the copy of a host that asks for the same task anew", () => {
    const cluster = new TestCluster();
    cluster.scheduling.finished(cluster.join("a").peer);
    expect(cluster.join("a2", { host: "a" }).kinds).toEqual(["origin"]);
    expect(cluster.scheduling.task("task").peers.has("a")).toBe(false);
  });

  it("offers nobody a peer of a host that does not share", () => {
    const cluster = new TestCluster();
    cluster.host("a", { disableShared: true });
    const loner = cluster.join("a");
    const other = cluster.join("b");
    expect([loner.kinds, other.kinds]).toEqual([["origin"], ["origin"]]);
    expect(cluster.join("c").lastParents).toEqual(["b"]);
  });

  it("tells a peer of an empty file that there is nothing to fetch", () => {
    const cluster = new TestCluster();
    const peer = cluster.register("a", {
      download: { actualContentLength: 0, actualPieceCount: 0 },
    });
    expect(peer.kinds).toEqual(["empty"]);
    cluster.scheduling.finished(peer.peer);
    expect(peer.kinds).toEqual(["empty", "end"]);
  });

  it("counts a peer that only registers its metadata among those who have everything", () => {
    const cluster = new TestCluster();
    const holder = cluster.register("a", { download: { metadataOnly: true } });
    expect(holder.kinds).toEqual(["metadata"]);
    cluster.scheduling.gone(holder.peer);
    expect(cluster.join("b").lastParents).toEqual(["a"]);
  });

  it("does not mix contents of different lengths", () => {
    const cluster = new TestCluster();
    cluster.scheduling.finished(cluster.join("a").peer);
    expect(cluster.join("b", { download: { actualContentLength: 7 } }).kinds).toEqual(["origin"]);
  });

  it("does not mix versions of a file, nor hand on digests of another one", () => {
    const cluster = new TestCluster();
    const old = cluster.join("a", { contentVersion: "1" });
    cluster.originPiece(old, 0, "crc32:1");
    cluster.scheduling.finished(old.peer);
    const running = cluster.join("e", { contentVersion: "1" });
    const reader = cluster.join("b", { contentVersion: "2" });
    expect(reader.kinds).toEqual(["origin"]);
    expect(reader.peer.task.digests).toEqual([]);
    cluster.originPiece(reader, 0, "crc32:2");
    const newer = cluster.join("c", { contentVersion: "2" });
    const late = cluster.join("d", { contentVersion: "1" });
    expect([newer.lastParents, newer.digests]).toEqual([["b"], { 0: "crc32:2" }]);
    expect(late.lastParents.toSorted()).toEqual(["a", "e"]);
    expect(late.digests).toEqual({ 0: "crc32:1" });
    cluster.advance(1_000);
    expect(running.digests).toEqual({ 0: "crc32:1" });
  });

  it("tells those who want a new version nothing of the old one, whoever came between without saying which he has", () => {
    const cluster = new TestCluster();
    const old = cluster.join("a", { contentVersion: "1" });
    cluster.originPiece(old, 0, "crc32:1");
    cluster.scheduling.finished(old.peer);
    cluster.join("b", { pushes: false });
    const download = { needBackToSource: true };
    cluster.originPiece(cluster.join("c", { contentVersion: "2", download }), 0, "crc32:2");
    expect(cluster.join("d", { contentVersion: "2" }).digests).toEqual({ 0: "crc32:2" });
  });

  it("tells what one says who read the origin without saying which version, where nobody says more", () => {
    const cluster = new TestCluster();
    const theirs = cluster.join("a", { pushes: false });
    cluster.originPiece(theirs, 0, "crc32:0");
    expect(cluster.join("b").digests).toEqual({ 0: "crc32:0" });
    cluster.scheduling.finished(theirs.peer);
    const ours = cluster.join("c", { download: { needBackToSource: true } });
    cluster.originPiece(ours, 0, "crc32:1");
    expect(cluster.join("d").digests).toEqual({ 0: "crc32:1" });
  });

  it("counts a peer's pieces by what it says itself of how many there are", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    cluster.register("b", { download: { actualPieceCount: 1 } });
    for (let number = 0; number < 10; number += 1) {
      expect(reader.peer.complete).toBe(false);
      cluster.originPiece(reader, number);
    }
    expect(reader.peer.complete).toBe(true);
    expect(reader.peer.task.digests).toHaveLength(10);
  });

  it("forgets the digests of a version that nobody has any more", () => {
    const cluster = new TestCluster({}, undefined, { digestCountMax: 2 });
    const old = cluster.join("a", { contentVersion: "1" });
    cluster.originPiece(old, 0);
    cluster.scheduling.finished(old.peer);
    const reader = cluster.join("b", { contentVersion: "2" });
    for (const number of [0, 1]) cluster.originPiece(reader, number);
    expect(reader.peer.task.digests).toHaveLength(1);
    cluster.scheduling.deletePeer("task", "a");
    cluster.advance(cluster.config.gcIntervalMs);
    cluster.originPiece(reader, 1);
    expect(cluster.join("c", { contentVersion: "2" }).digests).toEqual({
      0: "crc32:0",
      1: "crc32:1",
    });
  });

  it("refuses a peer id that another host has", () => {
    const cluster = new TestCluster();
    cluster.join("a");
    expect(() => cluster.register("a", { host: "b" })).toThrow(/host a has a peer of this id/);
  });

  it("takes a peer that registers again for the same one on a new stream", () => {
    const cluster = new TestCluster();
    const first = cluster.join("a");
    const again = cluster.join("a");
    expect(first.kinds).toEqual(["origin", "refused"]);
    expect(again.kinds).toEqual(["origin"]);
    cluster.scheduling.gone(first.peer);
    expect(again.peer.holdsLease).toBe(true);
  });

  it("forgets what it is told to forget", () => {
    const cluster = new TestCluster();
    const a = cluster.join("a");
    const b = cluster.join("b");
    cluster.scheduling.deletePeer("task", "b");
    expect(b.refusal?.code).toBe("ERR_PEER_GONE");
    cluster.scheduling.finished(a.peer);
    cluster.scheduling.deleteTask("a", "task");
    expect(cluster.scheduling.task("task").peers.size).toBe(0);
    cluster.scheduling.deleteHost("a");
    expect([...cluster.scheduling.hosts].map(({ id }) => id)).toEqual(["b"]);
  });

  it("ends every stream when it closes", () => {
    const cluster = new TestCluster();
    const a = cluster.join("a");
    cluster.scheduling.close();
    expect(a.refusal?.code).toBe("ERR_CLOSED");
  });
});
