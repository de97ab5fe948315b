import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakePeer, pseudoRandom, TestCluster, type Told } from "./test-cluster.ts";

const HOSTS = ["h0", "h1", "h2", "h3", "seed0", "seed1"];
const PIECE_COUNT = 10;

type Step =
  | {
      readonly kind: "register";
      readonly host: number;
      readonly pushes: boolean;
      readonly disableBackToSource: boolean;
    }
  | { readonly kind: "obey" | "progress" | "finish" | "fail" | "leave"; readonly peer: number }
  | { readonly kind: "reschedule"; readonly peer: number; readonly names: boolean }
  | { readonly kind: "pieceFailed"; readonly peer: number; readonly temporary: boolean }
  | { readonly kind: "wait"; readonly ms: number }
  | {
      readonly kind: "seedAnswers";
      readonly seed: number;
      readonly answer: "registers" | "fails" | "holds";
    }
  | { readonly kind: "deleteHost"; readonly host: number };

const peer = fc.nat({ max: 30 });
const host = fc.nat({ max: HOSTS.length - 1 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("register" as const),
      host,
      pushes: fc.boolean(),
      disableBackToSource: fc.nat({ max: 5 }).map((n) => n === 0),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("obey" as const), peer }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("progress" as const), peer }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("finish" as const, "fail" as const, "leave" as const),
      peer,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("reschedule" as const), peer, names: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("pieceFailed" as const),
      peer,
      temporary: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.constantFrom(100, 1_000, 6_000, 12_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("seedAnswers" as const),
      seed: fc.nat({ max: 1 }),
      answer: fc.constantFrom("registers" as const, "fails" as const, "holds" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteHost" as const), host }) },
);

/** What somebody who only sees the messages knows of a peer. */
interface Seen {
  readonly fake: FakePeer;
  readonly name: string;
  readonly host: string;
  readonly mayRead: boolean;
  state: "alive" | "finished" | "dead";
  /** When it was sent to the origin or last read something there; absent: it was not, or it stalled. */
  readingSinceMs: number | undefined;
  nextPiece: number;
}

/** Plays steps against a scheduler and checks everything it says. */
class Play {
  readonly cluster = new TestCluster({}, pseudoRandom(7));
  readonly seen = new Map<string, Seen>();
  #count = 0;
  #leaseMs = this.cluster.config.originLeaseMs + 1_000;

  take(step: Step): void {
    const { scheduling } = this.cluster;
    switch (step.kind) {
      case "register":
        return this.register(HOSTS[step.host] ?? "", step);
      case "wait":
        return this.wait(step.ms);
      case "seedAnswers":
        return this.#seedAnswers(`seed${step.seed}`, step.answer);
      case "deleteHost": {
        const hostId = HOSTS[step.host] ?? "";
        if (![...scheduling.hosts].some(({ id }) => id === hostId)) return undefined;
        for (const seen of this.seen.values()) if (seen.host === hostId) seen.state = "dead";
        return scheduling.deleteHost(hostId);
      }
      case "obey":
      case "progress":
      case "finish":
      case "fail":
      case "leave":
      case "reschedule":
      case "pieceFailed": {
        const alive = [...this.seen.values()].filter(({ state }) => state === "alive");
        const seen = alive[step.peer % Math.max(1, alive.length)];
        return seen === undefined ? undefined : this.#act(seen, step);
      }
    }
  }

  register(
    hostId: string,
    options: {
      readonly pushes: boolean;
      readonly disableBackToSource: boolean;
      readonly needBackToSource?: boolean;
    },
  ): void {
    this.#announce(hostId);
    this.#count += 1;
    const name = `p${this.#count}`;
    const seen: Seen = {
      fake: new FakePeer(),
      name,
      host: hostId,
      mayRead: !options.disableBackToSource,
      state: "alive",
      readingSinceMs: undefined,
      nextPiece: 0,
    };
    // A daemon asks for a task again only when its copy is gone.
    for (const other of this.seen.values()) {
      if (other.host === hostId && other.state === "finished") other.state = "dead";
    }
    this.seen.set(name, seen);
    const { disableBackToSource, needBackToSource = false } = options;
    this.cluster.register(name, {
      host: hostId,
      pushes: options.pushes,
      download: { disableBackToSource, needBackToSource },
      fake: seen.fake,
      onTold: (told) => this.#check(seen, told),
    });
  }

  wait(ms: number): void {
    this.cluster.advance(ms);
  }

  #announce(hostId: string): void {
    this.cluster.host(hostId, { type: hostId.startsWith("seed") ? 1 : 0 });
  }

  #seedAnswers(hostId: string, answer: "registers" | "fails" | "holds"): void {
    const { scheduling, seedsAsked } = this.cluster;
    if (!seedsAsked.includes(hostId) || ![...scheduling.hosts].some(({ id }) => id === hostId))
      return;
    if ([...this.seen.values()].some((seen) => seen.host === hostId && seen.state !== "dead"))
      return;
    if (answer === "registers") {
      this.register(hostId, { pushes: true, disableBackToSource: false, needBackToSource: true });
    } else if (answer === "fails") {
      scheduling.seedFailed("task", hostId);
    } else {
      this.#count += 1;
      const name = `p${this.#count}`;
      this.seen.set(name, {
        fake: new FakePeer(),
        name,
        host: hostId,
        mayRead: true,
        state: "finished",
        readingSinceMs: undefined,
        nextPiece: 0,
      });
      scheduling.seedHolds("task", { hostId, peerId: name });
    }
  }

  #act(
    seen: Seen,
    step: Exclude<Step, { kind: "register" | "wait" | "seedAnswers" | "deleteHost" }>,
  ): void {
    const { scheduling } = this.cluster;
    const subject = seen.fake.peer;
    const [parent] = seen.fake.lastParents;
    switch (step.kind) {
      case "obey":
        if (seen.readingSinceMs !== undefined) seen.readingSinceMs = this.cluster.nowMs;
        return this.cluster.obey(seen.fake);
      case "progress":
        if (seen.nextPiece >= PIECE_COUNT - 1) return undefined;
        if (seen.fake.kinds.includes("origin")) {
          if (seen.readingSinceMs !== undefined) seen.readingSinceMs = this.cluster.nowMs;
          this.cluster.originPiece(seen.fake, seen.nextPiece);
        } else if (parent !== undefined) {
          scheduling.pieceFinished(subject, seen.nextPiece, parent);
        }
        seen.nextPiece += 1;
        return undefined;
      case "finish":
        if (seen.fake.told.length === 0) return undefined;
        seen.state = "finished";
        return scheduling.finished(subject);
      case "fail":
        seen.state = "dead";
        return scheduling.failed(subject);
      case "leave":
        seen.state = "dead";
        return scheduling.gone(subject);
      case "reschedule":
        return scheduling.reschedule(subject, step.names ? [...seen.fake.lastParents] : []);
      case "pieceFailed":
        if (parent === undefined) return undefined;
        return scheduling.pieceFailed(subject, { parentId: parent, temporary: step.temporary });
    }
  }

  #check(seen: Seen, told: Told): void {
    expect(seen.state === "alive" || told.kind === "end" || told.kind === "refused").toBe(true);
    if (told.kind === "parents") {
      for (const name of told.parents) {
        const parent = this.seen.get(name);
        expect(parent?.state, `${name}, handed to ${seen.name}`).toMatch(/alive|finished/);
        expect(parent?.host).not.toBe(seen.host);
      }
    } else if (told.kind === "origin") {
      expect(seen.mayRead).toBe(true);
      // Being told again is no progress.
      const { lease } = this.cluster.scheduling.task("task");
      seen.readingSinceMs ??= lease?.renewedAtMs ?? this.cluster.nowMs;
      const readers = [...this.seen.values()].filter(
        ({ state, readingSinceMs }) =>
          state === "alive" &&
          readingSinceMs !== undefined &&
          this.cluster.nowMs - readingSinceMs < this.#leaseMs,
      );
      expect(readers.filter((reader) => reader !== seen).map(({ name }) => name)).toEqual([]);
      // Whoever had it has stalled, and what it does now is its own affair.
      for (const other of this.seen.values()) if (other !== seen) other.readingSinceMs = undefined;
    } else if (told.kind === "refused") {
      seen.state = "dead";
    }
  }
}

describe("Scheduling, whatever happens in whatever order", () => {
  const steps = fc.array(anyStep, { maxLength: 60, size: "max" });

  it("has one living reader of the origin at most, and hands out neither the dead nor a peer to itself", () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const play = new Play();
        for (const each of taken) play.take(each);
        play.wait(30_000);
      }),
      { numRuns: 120 },
    );
  });

  it("answers every peer, and refuses only those who may not read the origin or share a disk with its reader", () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const play = new Play();
        for (const each of taken) play.take(each);
        play.wait(30_000);
        for (const seen of play.seen.values()) {
          if (seen.state !== "alive") continue;
          expect(seen.fake.told, seen.name).not.toEqual([]);
        }
        for (const seen of play.seen.values()) {
          if (seen.fake.refusal?.code !== "ERR_NO_PARENT" || !seen.mayRead) continue;
          const siblings = [...play.seen.values()].filter(
            (other) => other !== seen && other.host === seen.host,
          );
          expect(siblings, `of ${seen.name}`).not.toEqual([]);
        }
      }),
      { numRuns: 120 },
    );
  });

  it("has somebody at the origin as long as nobody has the whole task and a listener wants it", () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const play = new Play();
        for (const each of taken) play.take(each);
        play.wait(30_000);
        const listeners = [...play.seen.values()].filter(
          ({ state, fake, mayRead }) => state === "alive" && fake.peer.takesPushes && mayRead,
        );
        if (listeners.length === 0) return;
        const task = play.cluster.scheduling.task("task");
        const isServed = [...task.peers.values()].some(({ complete }) => complete);
        expect(isServed || task.lease !== undefined || task.seedAsked !== undefined).toBe(true);
      }),
      { numRuns: 120 },
    );
  });
});
