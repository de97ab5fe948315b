import { describe, expect, it } from "vitest";
import type { SchedulerErrorCode } from "./errors.ts";
import { PAGE_LENGTH } from "./piece-numbers.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import { pseudoRandom, TestCluster, hostFacts } from "./test-cluster.ts";

const cluster = (limits: Partial<SchedulerLimits>): TestCluster =>
  new TestCluster({}, pseudoRandom(1), limits);

function codeOf(act: () => unknown): SchedulerErrorCode | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else is thrown here
    return (error as { readonly code: SchedulerErrorCode }).code;
  }
}

/** Announces hosts of these names, and says what became of each. */
function announceAll(
  test: TestCluster,
  names: readonly string[],
  address = "192.0.2.1",
): (SchedulerErrorCode | undefined)[] {
  return names.map((name) =>
    codeOf(() => test.scheduling.announceHost(hostFacts(name), { intervalMs: 60_000, address })),
  );
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe("a scheduler's hosts", () => {
  it("are as many as may be known, from one address half of them, and no more of a thousand", () => {
    const test = cluster({ hostCountMax: 10, hostsPerAddressMax: 5 });
    const codes = announceAll(test, names("a", 1_000));
    expect(codes.filter((code) => code === undefined)).toHaveLength(5);
    expect(new Set(codes.slice(5))).toEqual(new Set(["ERR_FULL"]));
    expect(new Set(announceAll(test, names("b", 5), "192.0.2.2"))).toEqual(new Set([undefined]));
    expect(announceAll(test, ["c"], "192.0.2.3")).toEqual(["ERR_FULL"]);
    // Who is known goes on announcing itself, and makes room when it leaves.
    expect(announceAll(test, ["a0", "b0"])).toEqual([undefined, undefined]);
    test.scheduling.deleteHost("a0");
    expect(announceAll(test, ["c"], "192.0.2.3")).toEqual([undefined]);
  });

  it("push out those of whom nothing is known but a name, unless they have peers", () => {
    const test = cluster({ hostCountMax: 3, hostsPerAddressMax: 3 });
    for (const [index, name] of ["10.0.0.1-a", "10.0.0.2-b", "10.0.0.3-c"].entries()) {
      const fake = test.registerGuest(name);
      if (index < 2) test.scheduling.gone(fake.peer);
    }
    expect(codeOf(() => test.registerGuest("10.0.0.4-d"))).toBeUndefined();
    expect(announceAll(test, ["x", "y"])).toEqual([undefined, "ERR_FULL"]);
    expect(test.scheduling.host("10.0.0.3-c").peers.size).toBe(1);
  });

  it("are forgotten a day after their last announcement, whatever interval they gave", () => {
    const test = new TestCluster({ tickMs: 3_600_000 }, pseudoRandom(1), {});
    test.scheduling.announceHost(hostFacts("a"), { intervalMs: 1e12 });
    test.advance(23 * 3_600_000);
    expect(test.scheduling.hosts).toHaveLength(1);
    test.advance(3_600_000);
    expect(test.scheduling.hosts).toHaveLength(0);
  });

  it("are no longer of use as seeds than as many as are looked at", () => {
    const test = cluster({});
    for (const name of names("seed", 1_000)) test.seed(name);
    for (let task = 0; task < 20; task += 1)
      test.register("a", { task: `t${task}`, host: "a" }).peer.task.forgetDigests();
    expect(test.seedsAsked).toHaveLength(20);
    expect(test.seedsAsked.every((name) => Number(name.slice(4)) < 256)).toBe(true);
  });
});

describe("a scheduler's peers", () => {
  it("make room for one more when they have finished, the first of them, else it is refused", () => {
    const test = cluster({ peerCountMax: 4, peersPerAddressMax: 4 });
    const fakes = names("p", 4).map((name) => test.join(name, { task: name }));
    expect(codeOf(() => test.register("p4", { task: "p4" }))).toBe("ERR_FULL");
    test.scheduling.finished(fakes[2]!.peer);
    test.scheduling.finished(fakes[1]!.peer);
    test.register("p4", { task: "p4" });
    expect(codeOf(() => test.scheduling.peer("p2", "p2"))).toBe("ERR_PEER_NOT_FOUND");
    expect(test.scheduling.peer("p1", "p1").complete).toBe(true);
    test.register("p5", { task: "p5" });
    expect(codeOf(() => test.scheduling.peer("p1", "p1"))).toBe("ERR_PEER_NOT_FOUND");
    for (const name of names("q", 1_000)) {
      expect(codeOf(() => test.register(name, { task: name }))).toBe("ERR_FULL");
    }
    expect(test.scheduling.peer("p0", "p0").wants).toBe(true);
  });

  it("take no more than half of the room from one address", () => {
    const test = cluster({ peerCountMax: 6, peersPerAddressMax: 3 });
    const address = "192.0.2.1";
    const flood = names("p", 1_000).map((name) =>
      codeOf(() => test.register(name, { task: name, address })),
    );
    expect(flood.filter((code) => code === undefined)).toHaveLength(3);
    expect(codeOf(() => test.register("x", { address: "192.0.2.2" }))).toBeUndefined();
    // What has finished there makes room there, and only there.
    test.scheduling.finished(test.scheduling.peer("p0", "p0"));
    expect(codeOf(() => test.register("y", { address: "192.0.2.2" }))).toBeUndefined();
    expect(test.scheduling.peer("p0", "p0").complete).toBe(true);
    expect(codeOf(() => test.register("q", { task: "q", address }))).toBeUndefined();
    expect(codeOf(() => test.scheduling.peer("p0", "p0"))).toBe("ERR_PEER_NOT_FOUND");
  });

  it.each([
    ["host", { peersPerHostMax: 3 }, (name: string) => ({ host: "one", task: name })],
    ["task", { peersPerTaskMax: 3 }, (name: string) => ({ host: name, task: "one" })],
  ] as const)("are no more than may be of one %s", (_, limits, options) => {
    const test = cluster(limits);
    const fakes = names("p", 3).map((name) => test.join(name, options(name)));
    expect(codeOf(() => test.register("p3", options("p3")))).toBe("ERR_FULL");
    test.scheduling.finished(fakes[1]!.peer);
    expect(codeOf(() => test.register("p3", options("p3")))).toBeUndefined();
    for (const name of names("q", 100)) {
      expect(codeOf(() => test.register(name, options(name)))).toBe("ERR_FULL");
    }
    expect(fakes[0]!.peer.wants).toBe(true);
    expect(codeOf(() => test.register("r", { host: "other", task: "other" }))).toBeUndefined();
  });

  it("are registered anew without taking more room", () => {
    const test = cluster({ peerCountMax: 2 });
    for (let count = 0; count < 100; count += 1) test.register("a");
    expect(codeOf(() => test.register("b"))).toBeUndefined();
  });

  it("keep nothing of what they showed the origin once they have finished", () => {
    const test = cluster({});
    const secret = { authorization: "Bearer secret" };
    const fake = test.join("a", { download: { requestHeader: secret } });
    expect(fake.peer.download.requestHeader).toEqual(secret);
    test.scheduling.finished(fake.peer);
    expect(JSON.stringify(fake.peer.download)).not.toContain("secret");
    expect(fake.peer.contentLength).toBe(10 * 4 * 1024 * 1024);
  });

  it("complain of others, and are told apart from them, as often as counts", () => {
    const test = cluster({});
    const [child, parent] = [test.join("child"), test.join("parent")];
    for (const name of names("c", 200)) {
      const other = test.register(name);
      test.scheduling.pieceFailed(other.peer, { parentId: "parent", temporary: false });
      test.scheduling.pieceFailed(child.peer, { parentId: name, temporary: false });
    }
    expect(parent.peer.complaints.size).toBe(64);
    expect(child.peer.setAside.size).toBe(200);
    for (const name of names("d", 200)) {
      test.register(name);
      test.scheduling.pieceFailed(child.peer, { parentId: name, temporary: false });
    }
    expect(child.peer.setAside.size).toBeLessThanOrEqual(256);
  });
});

describe("a scheduler's tasks", () => {
  it("are as many as may be known; those without peers make room", () => {
    const test = cluster({ taskCountMax: 2 });
    const fake = test.register("a", { task: "t0" });
    test.register("b", { task: "t1" });
    for (const task of names("u", 100)) {
      expect(codeOf(() => test.register("c", { task }))).toBe("ERR_FULL");
    }
    expect(codeOf(() => test.register("c", { task: "t1" }))).toBeUndefined();
    test.scheduling.gone(fake.peer);
    expect(codeOf(() => test.register("d", { task: "u" }))).toBeUndefined();
    expect(codeOf(() => test.scheduling.task("t0"))).toBe("ERR_TASK_NOT_FOUND");
  });

  it("and hosts and peers say no more of themselves, all together, than may be remembered", () => {
    const test = cluster({ textLengthMax: 100_000 });
    const download = { requestHeader: { cookie: "x".repeat(20_000) } };
    // What a peer says is remembered twice while it wants something: its own, and its task's.
    const [first] = names("p", 2).map((name) => test.join(name, { task: name, download }));
    for (const name of names("q", 100)) {
      const options = { host: "p0", task: name, download };
      expect(codeOf(() => test.register(name, options))).toBe("ERR_FULL");
    }
    test.scheduling.finished(first!.peer);
    expect(codeOf(() => test.register("r", { task: "p0", download }))).toBeUndefined();
    const name = "h".repeat(16_000);
    expect(codeOf(() => test.host("h", { name }))).toBe("ERR_FULL");
    for (const id of ["p0", "r"]) test.scheduling.deletePeer("p0", id);
    test.advance(test.config.gcIntervalMs);
    expect(codeOf(() => test.host("h", { name }))).toBeUndefined();
    test.host("h", { name: "" });
    expect(codeOf(() => test.host("i", { name }))).toBeUndefined();
  });

  it("have digests of as many pieces as may be remembered, and give them back", () => {
    const test = cluster({ digestCountMax: 5 });
    const reader = test.join("a", { task: "t" });
    for (let number = 0; number < 10; number += 1) test.originPiece(reader, number);
    expect(test.scheduling.task("t").digests).toHaveLength(5);
    const other = test.join("b", { task: "u" });
    test.originPiece(other, 0);
    expect(test.scheduling.task("u").digests).toHaveLength(0);
    expect(other.peer.pieces.size).toBe(1);
    test.scheduling.deletePeer("t", "a");
    test.advance(test.config.gcIntervalMs);
    test.originPiece(other, 1);
    expect(test.scheduling.task("u").digests).toHaveLength(1);
  });

  it.each([10, 2 ** 31 - 1])(
    "have a million pieces at most, where they say that they have %i",
    (actualPieceCount) => {
      const test = cluster({});
      const download = { actualPieceCount };
      const [reader, child] = ["a", "b"].map((name) => test.join(name, { task: "t", download }));
      const past = Math.min(actualPieceCount, 1_048_576);
      for (const number of [past - 1, past, past + 1, 2 ** 31, 2 ** 32 - 1]) {
        test.originPiece(reader!, number);
        test.scheduling.pieceFinished(child!.peer, number);
      }
      expect(test.scheduling.task("t").digests.map(({ number }) => number)).toEqual([past - 1]);
      for (const { peer } of [reader!, child!]) {
        expect([peer.pieces.size, peer.pieces.has(past - 1)]).toEqual([1, true]);
      }
    },
  );

  it("have peers whose pieces are remembered as long as there is memory", () => {
    const test = cluster({ pieceNumbersLengthMax: PAGE_LENGTH });
    const [first, second] = [test.join("a"), test.join("b")];
    test.scheduling.pieceFinished(first.peer, 3);
    test.scheduling.pieceFinished(second.peer, 3);
    expect([first.peer.pieces.size, second.peer.pieces.size]).toEqual([1, 0]);
    test.scheduling.failed(first.peer);
    test.scheduling.pieceFinished(second.peer, 3);
    expect(second.peer.pieces.size).toBe(1);
    test.scheduling.pieceFinished(second.peer, 2 ** 32 - 1);
    expect(second.peer.pieces.size).toBe(1);
  });
});

describe("a scheduler with more to do than it can", () => {
  it("answers a few peers at a time, and all of them in the end", () => {
    const test = cluster({ lookCountMax: 650 });
    const reader = test.join("reader", { download: { disableBackToSource: false } });
    test.scheduling.originStarted(reader.peer);
    const fakes = names("p", 300).map((name) =>
      test.register(name, { download: { disableBackToSource: true } }),
    );
    const answered = (): number => fakes.filter(({ told }) => told.length > 0).length;
    expect(answered()).toBeLessThan(10);
    test.advance(200);
    expect(answered()).toBeLessThan(100);
    test.advance(2_000);
    expect(answered()).toBe(300);
    expect(fakes.every(({ kinds }) => kinds.includes("parents"))).toBe(true);
  });

  it("comes to every task, though others have so many peers that nobody can help", () => {
    const test = cluster({ lookCountMax: 1_000 });
    const hopeless = { disableBackToSource: true };
    for (const name of names("p", 300)) {
      test.register(name, { task: `t${name.length}`, download: hopeless });
    }
    const fake = test.register("honest", { task: "honest" });
    expect(fake.told).toEqual([]);
    for (let count = 0; count < 10; count += 1) test.scheduling.tick();
    expect(fake.kinds).toEqual(["origin"]);
  });

  it("sends peers to the origin itself when as many seeds are asked as may be", () => {
    const test = cluster({});
    test.seed("seed");
    test.canAskSeeds = false;
    expect(test.register("a").kinds).toEqual(["origin"]);
    test.canAskSeeds = true;
    expect(test.register("b", { task: "other" }).kinds).toEqual([]);
    expect(test.seedsAsked).toEqual(["seed"]);
  });
});
