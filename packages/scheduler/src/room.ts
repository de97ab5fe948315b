import { AddressCounts, Allowance, toAddressGroup } from "@damselfly/limits";
import { SchedulerError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Peer, PeerKeeper } from "./peer.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import type { Task } from "./task.ts";

/** Where a peer would be. */
export interface PeerPlace {
  readonly host: Host;
  /** Absent: it would be the first. */
  readonly task: Task | undefined;
  readonly address: string;
}

interface Held {
  readonly textLength: number;
  readonly release: () => void;
}

/**
 * How much there is room for: hosts, tasks, peers and what is known of them. Peers that have finished make room for others, the longest
 * finished first: they are parents, but there are others, or the origin.
 */
export class Room implements PeerKeeper {
  readonly pieceNumbers: Allowance;
  readonly digests: Allowance;
  readonly #limits: SchedulerLimits;
  readonly #forget: (peer: Peer) => void;
  readonly #texts: Allowance;
  readonly #hosts: AddressCounts;
  readonly #heldHosts = new Map<Host, Held>();
  readonly #peers: AddressCounts;
  readonly #heldPeers = new Map<Peer, Held>();
  /** Those that have finished, in this order: all, and by address. */
  readonly #finished = new Set<Peer>();
  readonly #finishedAt = new Map<string, Set<Peer>>();

  /** @param forget removes a peer, which leaves here by that */
  constructor(limits: SchedulerLimits, forget: (peer: Peer) => void) {
    this.#limits = limits;
    this.#forget = forget;
    this.pieceNumbers = new Allowance(limits.pieceNumbersLengthMax);
    this.digests = new Allowance(limits.digestCountMax);
    this.#texts = new Allowance(limits.textLengthMax);
    this.#hosts = new AddressCounts({
      countMax: limits.hostCountMax,
      perAddressMax: limits.hostsPerAddressMax,
    });
    this.#peers = new AddressCounts({
      countMax: limits.peerCountMax,
      perAddressMax: limits.peersPerAddressMax,
    });
  }

  get peerCount(): number {
    return this.#peers.count;
  }

  /** Of texts that are remembered, in bytes. */
  get textLength(): number {
    return this.#texts.used;
  }

  hasRoomForHost(address: string): boolean {
    return this.#hosts.excess(address) === undefined;
  }

  /**
   * A host says this much of itself from now on.
   *
   * @throws {SchedulerError} `ERR_FULL`
   */
  holdHost(host: Host, textLength: number): void {
    const before = this.#heldHosts.get(host);
    this.takeText(textLength - (before?.textLength ?? 0));
    const release = before?.release ?? this.#hosts.add(host.address);
    this.#heldHosts.set(host, { textLength, release });
  }

  dropHost(host: Host): void {
    const held = this.#heldHosts.get(host);
    if (held === undefined) return;
    this.#heldHosts.delete(host);
    held.release();
    this.giveTextBack(held.textLength);
  }

  /** @throws {SchedulerError} `ERR_FULL` */
  takeText(length: number): void {
    if (!this.#texts.take(length)) throw full("what hosts and peers say of themselves");
  }

  giveTextBack(length: number): void {
    this.#texts.giveBack(length);
  }

  /**
   * Forgets peers that have finished until there is room for this one.
   *
   * @throws {SchedulerError} `ERR_FULL`
   */
  makeRoom({ host, task, address }: PeerPlace): void {
    const { peersPerTaskMax, peersPerHostMax } = this.#limits;
    if (task !== undefined && task.peers.size >= peersPerTaskMax) {
      this.#forgetOne(task.peers.values(), `of task ${task.id}`);
    }
    if (host.peers.size >= peersPerHostMax) this.#forgetOne(host.peers, `of host ${host.id}`);
    const excess = this.#peers.excess(address);
    if (excess === "address") {
      this.#forgetOne(this.#finishedAt.get(toAddressGroup(address)) ?? [], `from ${address}`);
    } else if (excess === "all") this.#forgetOne(this.#finished, "here");
  }

  /** @param textLength of what it says it downloads @throws {SchedulerError} `ERR_FULL` */
  enter(peer: Peer, textLength: number): void {
    this.takeText(textLength);
    this.#heldPeers.set(peer, { textLength, release: this.#peers.add(peer.address) });
  }

  retired(peer: Peer): void {
    const held = this.#heldPeers.get(peer);
    if (held === undefined || this.#finished.has(peer)) return;
    this.giveTextBack(held.textLength);
    this.#finished.add(peer);
    const address = toAddressGroup(peer.address);
    const sameAddress = this.#finishedAt.get(address) ?? new Set();
    this.#finishedAt.set(address, sameAddress.add(peer));
  }

  left(peer: Peer): void {
    const held = this.#heldPeers.get(peer);
    if (held === undefined) return;
    this.#heldPeers.delete(peer);
    held.release();
    this.#finished.delete(peer);
    const address = toAddressGroup(peer.address);
    const sameAddress = this.#finishedAt.get(address);
    sameAddress?.delete(peer);
    if (sameAddress?.size === 0) this.#finishedAt.delete(address);
  }

  #forgetOne(peers: Iterable<Peer>, where: string): void {
    for (const peer of peers) if (peer.isFinal) return this.#forget(peer);
    throw full(`unfinished peers ${where}`);
  }
}

export function full(ofWhat: string): SchedulerError {
  return new SchedulerError("ERR_FULL", `Cannot take in more: there is no room for ${ofWhat}`);
}
