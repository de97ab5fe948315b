import { chooseParents, NO_LIMITS } from "./choose-parents.ts";
import type { LookBudget } from "./look-budget.ts";
import { SchedulerError } from "./errors.ts";
import type { OriginTurns } from "./origin-turns.ts";
import type { Peer } from "./peer.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import type { SeedsWord } from "./seeds-word.ts";
import { spreadMesh } from "./spread-mesh.ts";
import type { Task } from "./task.ts";

export interface PlacementOptions {
  readonly config: SchedulerConfig;
  /** Milliseconds. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly turns: OriginTurns;
  readonly seedsWord: SeedsWord;
  /** Once it is spent, peers wait for the next tick. */
  readonly looks: LookBudget;
}

/** What it takes to choose parents among a sample of those who can serve, in candidates looked at. */
const CHOICE_LOOKS = 64;

/** How often a mesh is looked over even if nothing was reported. Milliseconds. */
const SPREAD_INTERVAL_MS = 1_000;

/**
 * What peers are told: parents, the origin, or that they cannot be helped. A peer that asked waits until one of these is
 * right; a peer that listens is told of new parents and digests unasked, now and then.
 */
export class Placement {
  readonly #options: PlacementOptions;
  readonly #config: SchedulerConfig;
  readonly #turns: OriginTurns;
  readonly #seedsWord: SeedsWord;
  readonly #looks: LookBudget;

  constructor(options: PlacementOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#turns = options.turns;
    this.#seedsWord = options.seedsWord;
    this.#looks = options.looks;
  }

  /** Puts a peer among those that wait for an answer. */
  wait(peer: Peer): void {
    const { retryLimit, retryBackToSourceLimit, retryIntervalMs } = this.#config;
    const leaseMs = this.#turns.leaseMs(peer.task.lease?.holder ?? peer);
    const patienceMs = this.#turns.mayRead(peer)
      ? Math.max(retryBackToSourceLimit * retryIntervalMs, leaseMs) + retryIntervalMs
      : retryLimit * retryIntervalMs;
    const sinceMs = this.#options.now();
    peer.waiting = { sinceMs, untilMs: sinceMs + patienceMs };
    peer.task.waiting.add(peer);
  }

  /** Does for a task what has become possible. */
  settle(task: Task): void {
    task.meshDirty = true;
    if (task.waiting.size > 0) this.#answerAll(task);
    if (this.#looks.isSpent) return;
    this.#looks.spend(task.peers.size);
    if (!this.#turns.isReaderWanted(task)) return;
    const asker = [...task.peers.values()].find((peer) => peer.wants);
    if (asker !== undefined && this.#turns.askSeed(asker)) return;
    const successor = this.#turns.successor(task);
    if (successor !== undefined) this.grantOrigin(successor, "it is this peer's turn");
  }

  /** Answers a peer that has just begun to wait. The others are no better off for it, unless it is the new reader. */
  settleFor(peer: Peer): void {
    peer.task.meshDirty = true;
    if (this.#looks.isSpent) return;
    this.#answer(peer, this.#serversOf(peer.task));
    if (peer.holdsLease) this.settle(peer.task);
  }

  /** Answers those whom a peer that has begun to fetch can serve: no more than it can have children. */
  settleWith(server: Peer): void {
    const { task } = server;
    task.meshDirty = true;
    if (task.waiting.size === 0 || this.#looks.isSpent) return;
    const servers = this.#serversOf(task);
    for (const peer of task.waiting) {
      if (server.children.size >= this.#config.childrenMax || this.#looks.isSpent) return;
      this.#answer(peer, servers);
    }
  }

  /** Looks at what time has brought to a task. */
  tick(task: Task): void {
    const nowMs = this.#options.now();
    this.#looks.spend(task.peers.size);
    if (this.#turns.isReaderInTheWay(task)) this.#turns.revoke(task);
    if (task.waiting.size > 0 || this.#turns.isReaderWanted(task)) this.settle(task);
    if (task.meshDirty || nowMs - task.spreadAtMs >= SPREAD_INTERVAL_MS) {
      task.meshDirty = false;
      task.spreadAtMs = nowMs;
      this.#looks.spend(CHOICE_LOOKS * task.peers.size);
      this.#spread(task, nowMs);
    }
    this.#push(task, nowMs);
  }

  #spread(task: Task, nowMs: number): void {
    const peer = [...task.peers.values()].find(({ wants, takesPushes }) => wants && takesPushes);
    if (peer === undefined) return;
    const servers = this.#seedsWord.nameable(this.#serversOf(task), peer);
    spreadMesh(task, { servers, config: this.#config, nowMs, random: this.#options.random });
  }

  /** Makes a peer the one that reads the origin. */
  grantOrigin(peer: Peer, description: string): void {
    this.#turns.grant(peer);
    // What others have need not be read again.
    if (peer.takesPushes) this.#handOut(peer, this.#choose(peer, this.#serversOf(peer.task)));
    this.sendToOrigin(peer, description);
  }

  /** Lets a peer read the origin, whoever else does. */
  sendToOrigin(peer: Peer, description: string): void {
    answered(peer);
    peer.readsOrigin = true;
    peer.voice?.origin(description);
  }

  #answerAll(task: Task): void {
    if (this.#looks.isSpent) return;
    let servers = this.#serversOf(task);
    // A seed's own peer goes first.
    const waiting = [...task.waiting].toSorted(
      (a, b) => Number(b.host.isSeed) - Number(a.host.isSeed),
    );
    for (const peer of waiting) {
      this.#answer(peer, servers);
      if (this.#looks.isSpent) return;
      if (peer.holdsLease) servers = this.#serversOf(task);
    }
  }

  #answer(peer: Peer, servers: readonly Peer[]): void {
    const { task, waiting } = peer;
    if (waiting === undefined) return;
    if (peer.holdsLease) {
      this.#handOut(peer, this.#choose(peer, servers));
      this.sendToOrigin(peer, "it is still this peer's turn");
      return;
    }
    const isAwaiting = this.#seedsWord.nameable(servers, peer) !== servers;
    if (!isAwaiting && this.#turns.isReaderWantedFor(peer, servers)) {
      this.#looks.spend(task.peers.size);
      if (this.#turns.hasRunOut(task)) this.#turns.revoke(task);
      if (!this.#turns.askSeed(peer)) {
        const forbidden = this.#turns.whyForbidden(peer);
        if (forbidden !== undefined) return refuse(peer, forbidden);
        if (this.#turns.mayRead(peer)) return this.grantOrigin(peer, "nobody has the whole task");
      }
    }
    if (this.#handOut(peer, this.#choose(peer, servers))) return;
    // A seed's word comes soon.
    if (isAwaiting) return;
    const nowMs = this.#options.now();
    if (nowMs - waiting.sinceMs >= this.#config.retryIntervalMs) {
      if (this.#handOut(peer, this.#choose(peer, servers, { evenCrowded: true }))) return;
      // Those who take bytes over TLS only and those who know no TLS are two swarms, unless somebody is part of both.
      const isCutOff = task.lease?.holder.host.canExchangeWith(peer.host) === false;
      if (isCutOff && this.#turns.mayRead(peer)) {
        return this.sendToOrigin(peer, "this peer cannot reach the one that reads the origin");
      }
    }
    // A reader that shares with nobody must not keep those away who do.
    const isFree =
      task.lease === undefined
        ? task.seedAsked === undefined
        : !task.lease.holder.host.shares && peer.host.shares;
    if (isFree && this.#turns.mayRead(peer)) {
      return this.grantOrigin(peer, "nobody can serve this peer");
    }
    if (nowMs < waiting.untilMs || task.seedAsked !== undefined) return;
    const anybody = { evenCrowded: true, evenSetAside: true };
    if (this.#handOut(peer, this.#choose(peer, servers, anybody))) return;
    // It asked for more than it has, and there is no more. Refused it would go to the origin on its own account, and so would all others.
    if (peer.takesPushes && peer.parents.size > 0) {
      answered(peer);
      return this.#tell(peer);
    }
    const why = this.#turns.mayRead(peer)
      ? "another one reads the origin"
      : "it may not read the origin";
    const message = `Cannot place peer ${peer.id}: no peer can serve it, and ${why}`;
    refuse(peer, new SchedulerError("ERR_NO_PARENT", message));
  }

  #choose(
    peer: Peer,
    all: readonly Peer[],
    options?: { readonly evenCrowded?: boolean; readonly evenSetAside?: boolean },
  ): Peer[] {
    this.#looks.spend(Math.max(1, all.length));
    const servers = this.#seedsWord.nameable(all, peer);
    const choice = {
      countMax: this.#config.parentsPerPeer - peer.parents.size,
      nowMs: this.#options.now(),
      random: this.#options.random,
      limits: options?.evenCrowded === true ? NO_LIMITS : this.#config,
      evenSetAside: options?.evenSetAside ?? false,
    };
    const chosen = chooseParents(peer, servers, choice);
    if (peer.takesPushes || chosen.length === 0 || chosen.some((parent) => parent.isReliable)) {
      return chosen;
    }
    // It can be helped no more once it has its parents: one of them must be of use whatever becomes of the others.
    const reliable = servers.filter((server) => server.isReliable);
    const [rock] = chooseParents(peer, reliable, { ...choice, countMax: 1, limits: NO_LIMITS });
    return rock === undefined ? chosen : [...chosen.slice(0, choice.countMax - 1), rock];
  }

  #serversOf(task: Task): readonly Peer[] {
    this.#looks.spend(task.peers.size);
    return [...task.peers.values()].filter((peer) => peer.canServe);
  }

  /** Answers with these and the parents it still has. False: there are no new ones. */
  #handOut(peer: Peer, parents: readonly Peer[]): boolean {
    if (parents.length === 0) return false;
    for (const parent of parents) peer.link(parent);
    answered(peer);
    this.#tell(peer);
    return true;
  }

  #tell(peer: Peer): void {
    const { task } = peer;
    peer.dirty = false;
    peer.fedBy.clear();
    peer.toldAtMs = this.#options.now();
    if (!peer.takesPushes) {
      peer.voice?.parents([...peer.parents], []);
      return;
    }
    peer.voice?.parents([...peer.parents], task.digestsOf(peer)?.tell(peer) ?? []);
  }

  #push(task: Task, nowMs: number): void {
    const listeners = [...task.peers.values()].filter(
      (peer) => peer.takesPushes && peer.wants && peer.waiting === undefined,
    );
    // A thousand peers hear less often, so that telling them does not become all that is done.
    const intervalMs = Math.max(this.#config.pushIntervalMs, listeners.length);
    for (const peer of listeners) {
      if (peer.parents.size === 0 || nowMs - peer.toldAtMs < intervalMs) continue;
      const isBehind = !peer.holdsLease && task.digestsOf(peer)?.hasNewsFor(peer) === true;
      if (peer.dirty || isBehind) this.#tell(peer);
    }
  }
}

function answered(peer: Peer): void {
  peer.waiting = undefined;
  peer.task.waiting.delete(peer);
  if (peer.state === "Pending") peer.state = "ReceivedNormal";
}

/** The peer has no place here: it is forgotten. */
function refuse(peer: Peer, error: SchedulerError): void {
  const { voice } = peer;
  peer.voice = undefined;
  peer.leave();
  voice?.refuse(error);
}
