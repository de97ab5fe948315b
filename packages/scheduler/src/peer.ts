import type { Download__Output } from "@damselfly/rpc";
import type { SchedulerError } from "./errors.ts";
import type { Host } from "./host.ts";
import { Marks } from "./marks.ts";
import type { PieceNumbers } from "./piece-numbers.ts";
import type { PieceFacts, Task } from "./task.ts";

/** Dragonfly's names (scheduler/resource/standard/peer.go); ReceivedTiny and ReceivedSmall are not used any more. */
export type PeerState =
  | "Pending"
  | "ReceivedEmpty"
  | "ReceivedNormal"
  | "Running"
  | "BackToSource"
  | "Succeeded"
  | "Failed"
  | "Leave";

/**
 * The scheduler's side of a peer's stream. Nothing here may call back into the scheduler before it returns.
 */
export interface PeerVoice {
  /** Try these, besides those already known; the digests are those not told before. */
  parents(parents: readonly Peer[], digests: readonly PieceFacts[]): void;
  /** Fetch from the origin what no parent offers. */
  origin(description: string): void;
  empty(): void;
  metadataOnly(): void;
  /** Ends the stream with an error. */
  refuse(error: SchedulerError): void;
  /** Ends the stream. */
  end(): void;
}

/** Is told what becomes of a peer. */
export interface PeerKeeper {
  /** It wants nothing more. */
  retired(peer: Peer): void;
  /** It is no part of its task and host any more. */
  left(peer: Peer): void;
}

/** Complaints that count: with more of them nobody is chosen any later. */
const COMPLAINTS_MAX = 64;
/** So many hosts have to give a peer up before others doubt it: one of them may be cut off himself. */
const DOUBTERS_MIN = 2;
/** After so long without another one that gives it up a peer is not doubted any more. Milliseconds. */
const DOUBT_MS = 60_000;

/** One daemon's part in one task. Holds state, decides nothing. */
export class Peer {
  readonly id: string;
  readonly host: Host;
  readonly task: Task;
  /** Of whoever registered it. */
  readonly address: string;
  /**
   * Takes parents that it did not ask for, and renews its turn at the origin while bytes come. Dragonfly's peers do neither: each message
   * that they are sent counts against a limit of theirs, and the pieces that they report are all that is heard of them.
   */
  readonly takesPushes: boolean;
  /** Of its copy of the file, as it says itself; empty: it does not say. */
  readonly contentVersion: string;
  readonly createdAtMs: number;
  updatedAtMs: number;
  state: PeerState = "Pending";
  /** Absent once its stream has ended. */
  voice: PeerVoice | undefined;
  /** Has every piece of the task. */
  complete = false;
  /** Numbers of the pieces that it reported. */
  readonly pieces: PieceNumbers;
  readonly parents: Set<Peer> = new Set();
  readonly children: Set<Peer> = new Set();
  /** Parents it called failed, with the time until which they are not offered to it. */
  readonly setAside: Marks<Peer, number> = new Marks();
  /** How often a parent failed it since a piece last came from there. */
  readonly failures: Marks<Peer, number> = new Marks();
  /** Parents that gave it a piece since it was last told of any. */
  readonly fedBy: Marks<Peer, true> = new Marks();
  /** Hosts whose peers called this one failed since it last served anybody. */
  readonly complaints: Marks<Host, true> = new Marks();
  /** Hosts whose peers gave it up since anybody got a piece from it, the last of them not long ago. */
  readonly #doubters: Marks<Host, true> = new Marks();
  #doubtedAtMs = -Infinity;
  /** Has or had the lease: reads the origin for all, and not because it says so. */
  hadTurn = false;
  /** Lost its lease for want of progress, and has made none since. */
  stalled = false;
  /** When it asked, and until when it waits for an answer. */
  waiting: { readonly sinceMs: number; readonly untilMs: number } | undefined;
  /** Has something new to be told. */
  dirty = false;
  toldAtMs: number = -Infinity;
  #download: Download__Output;
  #readsOrigin = false;
  readonly #keeper: PeerKeeper;

  constructor(options: {
    readonly id: string;
    readonly host: Host;
    readonly task: Task;
    readonly address: string;
    readonly pieces: PieceNumbers;
    readonly keeper: PeerKeeper;
    readonly download: Download__Output;
    readonly takesPushes: boolean;
    readonly contentVersion?: string | undefined;
    readonly voice: PeerVoice | undefined;
    readonly nowMs: number;
  }) {
    this.id = options.id;
    this.host = options.host;
    this.task = options.task;
    this.address = options.address;
    this.pieces = options.pieces;
    this.#keeper = options.keeper;
    this.#download = options.download;
    this.takesPushes = options.takesPushes;
    this.contentVersion = options.contentVersion ?? "";
    this.voice = options.voice;
    this.createdAtMs = options.nowMs;
    this.updatedAtMs = options.nowMs;
  }

  /** As it registered. Of one that wants nothing more only numbers and choices are kept. */
  get download(): Download__Output {
    return this.#download;
  }

  /** Was sent to the origin and has neither finished nor failed. */
  get readsOrigin(): boolean {
    return this.#readsOrigin;
  }

  set readsOrigin(value: boolean) {
    this.task.readerCount += Number(value) - Number(this.#readsOrigin);
    this.#readsOrigin = value;
  }

  /** Still wants pieces, and can be spoken to. */
  get wants(): boolean {
    return this.voice !== undefined && !this.isFinal;
  }

  /** Is a part of its task still. */
  get isHere(): boolean {
    return this.task.peers.get(this.id) === this;
  }

  get isFinal(): boolean {
    return this.state === "Succeeded" || this.state === "Failed" || this.state === "Leave";
  }

  /** Bytes; absent when the peer could not say. */
  get contentLength(): number | undefined {
    return this.download.actualContentLength;
  }

  /** Of its copy of the task; absent when nobody could say. */
  get pieceCount(): number | undefined {
    return this.download.actualPieceCount ?? this.task.pieceCount;
  }

  /** Wants only a part of the task. */
  get isPartial(): boolean {
    return this.download.range !== undefined && this.download.range !== null;
  }

  get holdsLease(): boolean {
    return this.task.lease?.holder === this;
  }

  /** Serves others: has or will have pieces, and lets them be fetched. */
  get canServe(): boolean {
    if (!this.host.shares) return false;
    if (this.state === "Succeeded") return true;
    if (this.voice === undefined) return false;
    return (
      this.state === "Running" ||
      this.state === "BackToSource" ||
      (this.holdsLease && !this.isFinal)
    );
  }

  /**
   * Whether a child with this parent will not be left waiting: it has everything, reads the origin, or ends its word to its children when it
   * has nothing more to give. Dragonfly's daemons say nothing when their download fails.
   */
  get isReliable(): boolean {
    return this.complete || this.holdsLease || this.readsOrigin || this.takesPushes;
  }

  /** Whether they can give each other pieces of the same content, as far as versions and lengths tell. */
  isCompatible(other: Peer): boolean {
    if (!this.host.canExchangeWith(other.host)) return false;
    const versions = new Set([this.contentVersion, other.contentVersion]);
    versions.delete("");
    if (versions.size > 1) return false;
    return (
      this.contentLength === undefined ||
      other.contentLength === undefined ||
      this.contentLength === other.contentLength
    );
  }

  link(parent: Peer): void {
    this.parents.add(parent);
    parent.children.add(this);
  }

  unlink(parent: Peer): void {
    this.parents.delete(parent);
    parent.children.delete(this);
  }

  complainedOfBy(host: Host): void {
    if (this.complaints.size < COMPLAINTS_MAX) this.complaints.set(host, true);
  }

  /** A peer of this host wants nothing of it for a while. */
  givenUpBy(host: Host, nowMs: number): void {
    if (!this.#isDoubtFresh(nowMs)) this.#doubters.clear();
    this.#doubtedAtMs = nowMs;
    if (this.#doubters.size < COMPLAINTS_MAX) this.#doubters.set(host, true);
  }

  /** A piece has come from it, whoever got it. */
  hasGiven(): void {
    this.#doubters.clear();
  }

  /** Whether it looks dead: several have given it up, one after the other, and meanwhile nobody got a piece from it. */
  isDoubted(nowMs: number): boolean {
    return this.#doubters.size >= DOUBTERS_MIN && this.#isDoubtFresh(nowMs);
  }

  #isDoubtFresh(nowMs: number): boolean {
    return nowMs - this.#doubtedAtMs < DOUBT_MS;
  }

  /** Wants nothing more: gives up its place among those who do. */
  retire(): void {
    this.#download = withoutTexts(this.#download);
    this.setAside.clear();
    this.failures.clear();
    this.fedBy.clear();
    if (this.complete || this.state !== "Succeeded") this.pieces.clear();
    this.#keeper.retired(this);
    this.readsOrigin = false;
    this.waiting = undefined;
    this.task.waiting.delete(this);
    for (const parent of this.parents) this.unlink(parent);
  }

  /** Serves nobody any more. */
  cutOff(): void {
    for (const child of this.children) child.unlink(this);
  }

  /** Is no part of its task and host any more. The lease, if it has it, must have been released. */
  leave(): void {
    if (!this.isFinal) this.state = "Leave";
    this.retire();
    this.cutOff();
    this.pieces.clear();
    this.task.peers.delete(this.id);
    this.host.peers.delete(this);
    this.#keeper.left(this);
  }
}

/** Who shows what to an origin is nobody's concern once it has been there. */
function withoutTexts(download: Download__Output): Download__Output {
  const { type, priority, range, schedulingPolicy } = download;
  const { disableBackToSource, needBackToSource, concurrentPieceCount } = download;
  const { actualContentLength, actualPieceLength, actualPieceCount } = download;
  return {
    url: "",
    type,
    priority,
    ...(range === undefined ? {} : { range }),
    filteredQueryParams: [],
    requestHeader: {},
    disableBackToSource,
    needBackToSource,
    certificateChain: [],
    prefetch: false,
    isPrefetch: false,
    needPieceContent: false,
    forceHardLink: false,
    ...(concurrentPieceCount === undefined ? {} : { concurrentPieceCount }),
    overwrite: false,
    ...(actualContentLength === undefined ? {} : { actualContentLength }),
    ...(actualPieceLength === undefined ? {} : { actualPieceLength }),
    ...(actualPieceCount === undefined ? {} : { actualPieceCount }),
    metadataOnly: false,
    schedulingPolicy,
    enableTaskIdBasedBlobDigest: false,
    extension: null,
  };
}
