import { describe, expect, it } from "vitest";
import type { FakePeer } from "./test-cluster.ts";
import { pseudoRandom, TestCluster } from "./test-cluster.ts";

const PIECE_COUNT = 32;
/** Pieces that a peer can send and take in one round. */
const UPLOADS_MAX = 4;
const DOWNLOADS_MAX = 2;

interface Node {
  readonly name: string;
  readonly fake: FakePeer;
  readonly pieces: Set<number>;
  uploads: number;
}

/** Daemons that do as they are told, a round at a time; the network is what the scheduler makes of it. */
class Swarm {
  readonly random = pseudoRandom(3);
  readonly cluster = new TestCluster({ setAsideMs: 1_000 }, this.random);
  readonly nodes = new Map<string, Node>();
  originReads = 0;

  join(name: string): void {
    const fake = this.cluster.register(name, {
      download: { actualPieceCount: PIECE_COUNT, actualContentLength: PIECE_COUNT },
    });
    this.nodes.set(name, { name, fake, pieces: new Set(), uploads: 0 });
  }

  kill(name: string): void {
    const node = this.nodes.get(name);
    this.nodes.delete(name);
    if (node !== undefined) this.cluster.scheduling.gone(node.fake.peer);
  }

  /** The one that reads the origin. */
  get reader(): string | undefined {
    return this.cluster.scheduling.task("task").lease?.holder.id;
  }

  get unfinished(): Node[] {
    return [...this.nodes.values()].filter(({ pieces }) => pieces.size < PIECE_COUNT);
  }

  round(): void {
    this.cluster.advance(200);
    for (const node of this.nodes.values()) {
      node.uploads = 0;
      if (!node.fake.peer.isFinal && node.fake.peer.state !== "Running")
        this.cluster.obey(node.fake);
    }
    // What arrives in a round can be passed on in the next.
    const held = new Map(
      [...this.nodes.values()].map(({ name, pieces }) => [name, new Set(pieces)]),
    );
    for (const node of this.unfinished) this.#fetch(node, held);
  }

  #fetch(node: Node, held: ReadonlyMap<string, ReadonlySet<number>>): void {
    const { scheduling } = this.cluster;
    const { peer } = node.fake;
    let downloads = 0;
    for (const number of shuffled(PIECE_COUNT, this.random)) {
      if (node.pieces.has(number) || downloads === DOWNLOADS_MAX) continue;
      const parents = node.fake.told.flatMap((told) =>
        told.kind === "parents" ? told.parents : [],
      );
      const offers = parents.filter((name) => held.get(name)?.has(number) === true);
      const parent = offers
        .map((name) => this.nodes.get(name))
        .find((each) => (each?.uploads ?? UPLOADS_MAX) < UPLOADS_MAX);
      if (parent !== undefined) {
        parent.uploads += 1;
        node.pieces.add(number);
        scheduling.pieceFinished(peer, number, parent.name);
      } else if (offers.length === 0 && peer.holdsLease) {
        this.originReads += 1;
        node.pieces.add(number);
        this.cluster.originPiece(node.fake, number);
      } else continue;
      downloads += 1;
    }
    if (node.pieces.size === PIECE_COUNT) scheduling.finished(peer);
  }
}

function shuffled(count: number, random: () => number): number[] {
  return Array.from({ length: count }, (_, number) => ({ number, order: random() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ number }) => number);
}

function run(
  swarm: Swarm,
  options: { readonly roundsMax: number; readonly between?: (round: number) => void },
): number {
  for (let round = 1; round <= options.roundsMax; round += 1) {
    swarm.round();
    options.between?.(round);
    if (swarm.unfinished.length === 0) return round;
  }
  return Infinity;
}

describe("a swarm that does as it is told", () => {
  it.each([10, 100])("brings a file to %i peers, reading the origin once", (count) => {
    const swarm = new Swarm();
    for (let index = 0; index < count; index += 1) swarm.join(`p${index}`);
    // 16 rounds are what the origin's reader needs alone, 2 pieces a round.
    expect(run(swarm, { roundsMax: 100 })).toBeLessThanOrEqual(
      16 + 4 * Math.ceil(Math.log2(count)),
    );
    expect(swarm.originReads).toBe(PIECE_COUNT);
  });

  it("takes in those who come late", () => {
    const swarm = new Swarm();
    swarm.join("p0");
    const rounds = run(swarm, {
      roundsMax: 100,
      between: (round) => {
        if (round < 20) for (const half of ["a", "b"]) swarm.join(`p${round}${half}`);
      },
    });
    expect(rounds).toBeLessThan(60);
    expect(swarm.originReads).toBe(PIECE_COUNT);
  });

  it("finishes although the reader is killed again and again", () => {
    const swarm = new Swarm();
    for (let index = 0; index < 40; index += 1) swarm.join(`p${index}`);
    const killed = new Set<string>();
    const rounds = run(swarm, {
      roundsMax: 200,
      between: (round) => {
        const { reader } = swarm;
        if (round % 4 !== 0 || killed.size === 5 || reader === undefined) return;
        killed.add(reader);
        swarm.kill(reader);
      },
    });
    expect(rounds).toBeLessThan(100);
    expect(killed.size).toBeGreaterThan(1);
    // Only what nobody but the dead had is read again.
    expect(swarm.originReads).toBeLessThanOrEqual(PIECE_COUNT + killed.size * 3 * DOWNLOADS_MAX);
  });

  it("finishes although a third of it is killed", () => {
    const swarm = new Swarm();
    for (let index = 0; index < 60; index += 1) swarm.join(`p${index}`);
    const rounds = run(swarm, {
      roundsMax: 200,
      between: (round) => {
        if (round <= 20) swarm.kill(`p${round * 2}`);
      },
    });
    expect(rounds).toBeLessThan(100);
  });
});
