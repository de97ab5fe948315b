import { describe, expect, it } from "vitest";
import { type FakePeer, TestCluster } from "./test-cluster.ts";

const PIECE_COUNT = 10;

/**
 * A seed that has everything, and its children, each with all pieces but the last. Then it freezes: it is announced, and gives nothing more.
 * Each child asks for help when nothing has come for a while, and again, later and later, as the daemon does.
 */
function openSwarm(childCount: number) {
  const cluster = new TestCluster();
  const { scheduling } = cluster;
  const seed = cluster.join("seed");
  for (let number = 0; number < PIECE_COUNT; number += 1) cluster.originPiece(seed, number);
  scheduling.finished(seed.peer);
  const children = Array.from({ length: childCount }, (_, index) => {
    const child = cluster.join(`child${index}`);
    for (let number = 0; number < PIECE_COUNT - 1; number += 1)
      scheduling.pieceFinished(child.peer, number, "seed");
    return child;
  });
  cluster.advance(2_000);
  return { cluster, scheduling, seed, children };
}

describe("a seed that has everything and freezes", () => {
  it.each([1, 2, 4, 5, 30, 300])(
    "has one of %i children read the origin, and refuses none",
    (childCount) => {
      const { cluster, scheduling, children } = openSwarm(childCount);
      const isReader = (child: FakePeer): boolean => child.kinds.includes("origin");
      for (const pauseMs of [5_000, 10_000, 20_000, 40_000]) {
        for (const child of children) {
          if (isReader(child) || child.peer.waiting !== undefined) continue;
          scheduling.reschedule(child.peer, ["seed"]);
          const [reader] = children.filter(isReader);
          if (reader !== undefined) scheduling.originStarted(reader.peer);
          cluster.advance(20);
        }
        // Whoever has the turn makes progress, if slowly.
        for (let passedMs = 0; passedMs < pauseMs; passedMs += 2_000) {
          cluster.advance(2_000);
          for (const child of children)
            if (child.peer.holdsLease) scheduling.originStarted(child.peer);
        }
      }
      expect(children.filter(isReader)).toHaveLength(1);
      expect(children.filter(({ refusal }) => refusal !== undefined)).toHaveLength(0);
      // Whoever reads it can give the piece to all others, directly or not.
      const [reader] = children.filter(isReader);
      const reached = new Set([reader!.peer]);
      for (const peer of reached) for (const child of peer.children) reached.add(child);
      expect(reached.size).toBe(childCount);
    },
    60_000,
  );
});
