import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Peer } from "./peer.ts";
import { type FakePeer, pseudoRandom, TestCluster } from "./test-cluster.ts";

/** Whether pieces can come to this peer from the origin's reader or somebody who has everything. */
function isFed(peer: Peer, seen: ReadonlySet<Peer> = new Set()): boolean {
  if (peer.holdsLease || peer.complete) return true;
  if (seen.has(peer)) return false;
  const path = new Set([...seen, peer]);
  return [...peer.parents].some((parent) => isFed(parent, path));
}

describe("spreadMesh", () => {
  it.each([1, 2, 4])(
    "leaves nobody cut off from the origin's reader, with %i parents each",
    (parentsPerPeer) => {
      const step = fc.record({
        kind: fc.constantFrom("join", "join", "join", "leave", "leave", "finish", "tick"),
        which: fc.nat({ max: 20 }),
      });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60, size: "max" }), fc.nat(), (steps, start) => {
          const cluster = new TestCluster({ parentsPerPeer }, pseudoRandom(start));
          const alive: FakePeer[] = [];
          for (const { kind, which } of steps) {
            const chosen = alive[which % Math.max(1, alive.length)];
            if (kind === "join") alive.push(cluster.join(`p${alive.length}-${cluster.nowMs}`));
            else if (kind === "tick") cluster.advance(100);
            else if (chosen !== undefined) {
              alive.splice(alive.indexOf(chosen), 1);
              if (kind === "leave") cluster.scheduling.gone(chosen.peer);
              else if (chosen.peer.waiting === undefined) cluster.scheduling.finished(chosen.peer);
            }
            cluster.nowMs += 1;
          }
          for (let round = 0; round < 20; round += 1) {
            cluster.advance(200);
            for (const fake of alive) if (fake.peer.state === "ReceivedNormal") cluster.obey(fake);
          }
          for (const { peer } of alive) {
            if (!peer.wants) continue;
            expect(
              isFed(peer),
              `${peer.id} with ${[...peer.parents].map(({ id }) => id).join()}`,
            ).toBe(true);
            expect(peer.parents.size).toBeLessThanOrEqual(parentsPerPeer);
          }
        }),
        { numRuns: 40 },
      );
    },
  );

  it("names no parent that has left", () => {
    const cluster = new TestCluster();
    const reader = cluster.join("a");
    const [child, other] = [cluster.join("b"), cluster.join("c")];
    cluster.advance(1_000);
    expect(new Set(child.lastParents)).toEqual(new Set(["a", "c"]));
    cluster.scheduling.gone(other.peer);
    cluster.join("d");
    cluster.scheduling.reschedule(child.peer, ["c"]);
    expect(new Set(child.lastParents)).toEqual(new Set(["a", "d"]));
    expect(reader.peer.holdsLease).toBe(true);
  });
});
