import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Peer } from "./peer.ts";
import { downloadFacts, FakePeer, hostFacts, pseudoRandom, TestCluster } from "./test-cluster.ts";

/** Registers one of Dragonfly's peers: it takes no parents that it did not ask for. */
function registerTheirs(
  cluster: TestCluster,
  name: string,
  options: Parameters<TestCluster["register"]>[1] = {},
): FakePeer {
  return cluster.register(name, { pushes: false, ...options });
}

function joinTheirs(cluster: TestCluster, name: string): FakePeer {
  return cluster.join(name, { pushes: false });
}

/** What Dragonfly's child does after a round that did not bring everything: it names all parents it had. */
function echo(cluster: TestCluster, fake: FakePeer): void {
  cluster.scheduling.reschedule(fake.peer, fake.lastParents);
}

/** Bytes of the copies of our own hosts go over TLS only unless `plainPeers`. */
function ours(cluster: TestCluster, name: string, plainPeers: boolean): void {
  cluster.host(name, { extension: { version: 1, plainPeers } });
}

describe("one of Dragonfly's peers", () => {
  it("hears one answer to each question, whatever changes meanwhile", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("reader");
    const theirs = joinTheirs(cluster, "theirs");
    for (let number = 0; number < 5; number += 1) {
      cluster.join(`ours-${number}`);
      cluster.originPiece(reader, number);
      cluster.advance(2_000);
    }
    expect(theirs.kinds).toEqual(["parents"]);
    expect(theirs.lastParents).toEqual(["reader"]);
    echo(cluster, theirs);
    cluster.advance(2_000);
    expect(theirs.kinds).toEqual(["parents", "parents"]);
  });

  it("is sent no digests, which it has no use for", () => {
    const cluster = new TestCluster();
    cluster.originPiece(cluster.join("reader"), 0);
    expect(joinTheirs(cluster, "theirs").told).toMatchObject([{ kind: "parents", digests: [] }]);
  });

  it("is given a parent again that it names although it did well", () => {
    const cluster = new TestCluster();
    cluster.join("reader");
    const theirs = joinTheirs(cluster, "theirs");
    cluster.scheduling.pieceFinished(theirs.peer, 0, "reader");
    echo(cluster, theirs);
    expect(theirs.lastParents).toEqual(["reader"]);
    expect(theirs.kinds).toEqual(["parents", "parents"]);
  });

  it("is not given a parent again at once that brought nothing, or failed after it had", () => {
    for (const hasFed of [false, true]) {
      const cluster = new TestCluster();
      const reader = cluster.join("reader");
      const theirs = joinTheirs(cluster, "theirs");
      if (hasFed) {
        cluster.scheduling.pieceFinished(theirs.peer, 0, "reader");
        cluster.scheduling.pieceFailed(theirs.peer, { parentId: "reader", temporary: true });
      }
      echo(cluster, theirs);
      cluster.advance(5_000);
      expect(theirs.kinds).toEqual(["parents"]);
      // Rather than be refused it gets what there is in the end.
      for (let number = 0; number < 10; number += 1) {
        cluster.originPiece(reader, number);
        cluster.advance(5_000);
      }
      expect(theirs.kinds).toEqual(["parents", "parents"]);
    }
  });

  it("takes over at the origin when its parent is gone and it asks again", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("reader");
    const theirs = joinTheirs(cluster, "theirs");
    cluster.scheduling.gone(reader.peer);
    cluster.advance(1_000);
    expect(theirs.kinds).toEqual(["parents"]);
    echo(cluster, theirs);
    expect(theirs.kinds).toEqual(["parents", "origin"]);
  });

  it("keeps its turn at the origin longer than a peer that can renew it between pieces", () => {
    const cluster = new TestCluster();
    const download = { actualPieceLength: 4 << 20, concurrentPieceCount: 8 };
    const theirs = registerTheirs(cluster, "theirs", { download });
    cluster.obey(theirs);
    const next = cluster.register("ours", { download });
    cluster.obey(next);
    cluster.scheduling.reschedule(next.peer, ["theirs"]);
    // Eight pieces at 1 MiB a second.
    cluster.advance(32_000);
    expect(theirs.peer.holdsLease).toBe(true);
    cluster.advance(15_000);
    expect(theirs.peer.holdsLease).toBe(false);
  });

  it("may register before its host has announced itself, and is a parent once it has", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("reader");
    const fake = new FakePeer();
    const registration = {
      hostId: "127.0.0.1-guest",
      peerId: "guest-peer",
      taskId: "task",
      download: downloadFacts(),
      takesPushes: false,
    };
    expect(() => cluster.scheduling.register({ ...registration, takesPushes: true }, fake)).toThrow(
      "host 127.0.0.1-guest not found",
    );
    fake.peer = cluster.scheduling.register(registration, fake);
    expect(fake.lastParents).toEqual(["reader"]);
    cluster.scheduling.started(fake.peer);
    expect(cluster.scheduling.hosts.map(({ id }) => id)).toEqual(["reader"]);
    expect(fake.peer.canServe).toBe(false);
    cluster.scheduling.announceHost(hostFacts("127.0.0.1-guest", { hostname: "guest" }));
    expect(fake.peer.canServe).toBe(true);
    for (let number = 0; number < 10; number += 1) cluster.originPiece(reader, number);
    cluster.scheduling.finished(fake.peer);
    cluster.scheduling.deleteHost("reader");
    expect(joinTheirs(cluster, "child").lastParents).toEqual(["guest-peer"]);
  });

  it("that registers a finished copy is a parent from then on", () => {
    const cluster = new TestCluster();
    const seed = registerTheirs(cluster, "seed", { download: { metadataOnly: true } });
    expect(seed.kinds).toEqual(["metadata"]);
    cluster.scheduling.started(seed.peer);
    cluster.scheduling.finished(seed.peer);
    expect(seed.kinds).toEqual(["metadata", "end"]);
    expect(joinTheirs(cluster, "child").lastParents).toEqual(["seed"]);
  });

  it("asked as a seed for what it has, is not passed over for saying nothing else", () => {
    const cluster = new TestCluster();
    cluster.seed("seed");
    cluster.register("child");
    expect(cluster.seedsAsked).toEqual(["seed"]);
    const seed = registerTheirs(cluster, "seed-peer", {
      host: "seed",
      download: { metadataOnly: true },
    });
    cluster.scheduling.finished(seed.peer);
    cluster.scheduling.seedFailed("task", "seed");
    expect(seed.peer.task.seedsAside.size).toBe(0);
  });

  it("has no parent whose pieces could only come back from itself", () => {
    const cluster = new TestCluster({ readerChildrenMax: 1, childrenMax: 1 });
    const reader = cluster.join("reader");
    const first = joinTheirs(cluster, "first");
    cluster.scheduling.started(first.peer);
    const second = joinTheirs(cluster, "second");
    expect(second.lastParents).toEqual(expect.arrayContaining(["first"]));
    cluster.scheduling.failed(reader.peer);
    echo(cluster, first);
    // "second" has nobody but "first" now.
    expect(first.kinds).toEqual(["parents", "origin"]);
  });

  it("has always somebody who can be relied on, and never waits in a circle", () => {
    const step = fc.record({
      kind: fc.constantFrom("theirs", "ours", "echo", "fail", "finish", "piece"),
      index: fc.nat(30),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, start) => {
        const cluster = new TestCluster({}, pseudoRandom(start));
        const reader = cluster.join("reader");
        const fakes: FakePeer[] = [];
        for (const [count, { kind, index }] of steps.entries()) {
          const fake = fakes[index % Math.max(fakes.length, 1)];
          if (kind === "theirs" || kind === "ours") {
            fakes.push(cluster.join(`${kind}-${count}`, { pushes: kind === "ours" }));
          } else if (fake !== undefined && fake.peer.wants) {
            if (kind === "echo" && fake.peer.waiting === undefined) echo(cluster, fake);
            if (kind === "fail") cluster.scheduling.failed(fake.peer);
            if (kind === "finish") cluster.scheduling.finished(fake.peer);
            if (kind === "piece") cluster.originPiece(reader, index % 10);
          }
          cluster.advance(200);
          for (const { peer } of fakes) expect(isOnItsOwn(peer)).toBe(false);
        }
      }),
      { numRuns: 50 },
    );
  });
});

/** Whether this peer of Dragonfly's can be reached from itself over peers that cannot be given other parents. */
function isOnItsOwn(peer: Peer): boolean {
  if (peer.takesPushes) return false;
  const todo = [...peer.parents];
  const seen = new Set<Peer>();
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (next === peer) return true;
    if (next.takesPushes || seen.has(next)) continue;
    seen.add(next);
    todo.push(...next.parents);
  }
  return false;
}

describe("a swarm of both kinds", () => {
  it("sends nobody to a peer whose bytes it cannot take", () => {
    const cluster = new TestCluster();
    ours(cluster, "closed", false);
    ours(cluster, "open", true);
    cluster.join("closed");
    const open = cluster.join("open");
    expect(open.lastParents).toEqual(["closed"]);
    expect(joinTheirs(cluster, "theirs").lastParents).toEqual(["open"]);
  });

  it("lets one more read the origin where nobody is part of both halves", () => {
    const cluster = new TestCluster();
    ours(cluster, "closed", false);
    cluster.join("closed");
    const first = registerTheirs(cluster, "first");
    cluster.advance(1_000);
    expect(first.kinds).toEqual(["origin"]);
    cluster.obey(first);
    expect(joinTheirs(cluster, "second").lastParents).toEqual(["first"]);
  });

  it("gives our own children Dragonfly's parents only where they take bytes without TLS", () => {
    const cluster = new TestCluster();
    const theirs = joinTheirs(cluster, "theirs");
    for (let number = 0; number < 10; number += 1) cluster.originPiece(theirs, number);
    cluster.scheduling.finished(theirs.peer);
    ours(cluster, "open", true);
    expect(cluster.join("open").lastParents).toEqual(["theirs"]);
    ours(cluster, "closed", false);
    expect(cluster.join("closed").kinds).toEqual(["origin"]);
  });
});
