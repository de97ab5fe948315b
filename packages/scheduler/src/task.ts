import type { Download__Output } from "@damselfly/rpc";
import type { Allowance } from "@damselfly/limits";
import type { Host } from "./host.ts";
import type { Peer } from "./peer.ts";

/** What the reader of the origin said a piece is. Bytes. */
export interface PieceFacts {
  readonly number: number;
  readonly offset: number;
  readonly length: number;
  readonly digest: string;
  /** A second one, that nobody can make other bytes for; absent: not said. */
  readonly strongDigest?: string;
}

export type TaskState = "Pending" | "Running" | "Succeeded" | "Failed";

interface KnownDigest {
  readonly facts: PieceFacts;
  readonly reporter: Peer;
}

/** One file that the cluster distributes. Holds state, decides nothing. */
export class Task {
  readonly id: string;
  /** As the first peer registered it. */
  readonly download: Download__Output;
  /** What that takes, in bytes. */
  readonly textLength: number;
  readonly createdAtMs: number;
  updatedAtMs: number;
  readonly peers: Map<string, Peer> = new Map();
  /** Those that asked and have no answer yet, in the order they asked. */
  readonly waiting: Set<Peer> = new Set();
  /** The one peer that reads the origin. */
  lease: { readonly holder: Peer; renewedAtMs: number } | undefined;
  /** A seed that was asked to become that peer, and until when its peer may register. */
  seedAsked:
    | { readonly host: Host; readonly untilMs: number; readonly cancel: () => void }
    | undefined;
  /** A seed has said which pieces it has read, or will not: who says that he has some may be named. See `SeedsWord`. */
  seedHeard = false;
  /** A seed was asked whether it has the task. */
  seedInquired = false;
  /** Until when nobody but seeds is named; absent: nobody else was to be. */
  doubtUntilMs: number | undefined;
  /** Seeds that failed this task, with the time until which they are not asked again. */
  readonly seedsAside: Map<string, number> = new Map();
  /** Something changed that the mesh has not followed yet. */
  meshDirty = false;
  spreadAtMs: number = -Infinity;
  lastFailed = false;
  /** Peers that read the origin. */
  readerCount = 0;
  /** In the order they became known, so that a peer is told only what is new. */
  readonly digests: PieceFacts[] = [];
  readonly #digestAllowance: Allowance;
  readonly #digestIndex = new Map<number, KnownDigest>();
  #contentVersion = "";
  #contentLength: number | undefined;
  #pieceCount: number | undefined;

  /** @param options.digests how many pieces' digests may be remembered, over all tasks */
  constructor(
    id: string,
    download: Download__Output,
    options: { readonly textLength: number; readonly nowMs: number; readonly digests: Allowance },
  ) {
    const { nowMs } = options;
    this.id = id;
    this.textLength = options.textLength;
    this.#digestAllowance = options.digests;
    this.download = download;
    this.createdAtMs = nowMs;
    this.updatedAtMs = nowMs;
  }

  /** Bytes. */
  get contentLength(): number | undefined {
    return this.#contentLength;
  }

  get pieceCount(): number | undefined {
    return this.#pieceCount;
  }

  get state(): TaskState {
    let running = false;
    for (const peer of this.peers.values()) {
      if (peer.state === "Succeeded") return "Succeeded";
      running ||= peer.wants;
    }
    if (running) return "Running";
    return this.lastFailed ? "Failed" : "Pending";
  }

  /** Takes over the sizes that a peer learned from the origin. Other sizes than before: it is another content, old digests are void. */
  learnSizes(peer: Peer, options: { readonly replace: boolean }): void {
    const { actualContentLength, actualPieceCount } = peer.download;
    if (actualContentLength === undefined) return;
    const { contentVersion } = peer;
    const isOther =
      (this.#contentLength !== undefined && this.#contentLength !== actualContentLength) ||
      (this.#contentVersion !== "" &&
        contentVersion !== "" &&
        this.#contentVersion !== contentVersion);
    if (isOther) {
      if (!options.replace) return;
      this.forgetDigests();
    }
    this.#contentVersion = contentVersion;
    this.#contentLength = actualContentLength;
    this.#pieceCount = actualPieceCount ?? this.#pieceCount;
  }

  /** Whether this peer's copy is of the content whose digests are recorded, as far as both say. */
  isOf({ contentLength, contentVersion }: Peer): boolean {
    return (
      (contentLength === undefined || contentLength === this.#contentLength) &&
      (contentVersion === "" ||
        this.#contentVersion === "" ||
        contentVersion === this.#contentVersion)
    );
  }

  /**
   * Records what a reader of the origin found. The first word counts while the one who gave it is here; a reader that
   * comes after it has left and finds something else starts the record anew. A seed's word counts more than anybody else's: where it
   * contradicts, nothing that others said is kept.
   *
   * @returns false when it contradicts what is recorded
   */
  learnDigest(reporter: Peer, facts: PieceFacts): boolean {
    const known = this.#digestIndex.get(facts.number);
    if (known !== undefined) {
      const isBetter = reporter.host.isSeed && !known.reporter.host.isSeed;
      if (agrees(known.facts, facts)) {
        if (isBetter) this.#digestIndex.set(facts.number, { facts: known.facts, reporter });
        return true;
      }
      if (isBetter) {
        this.#keepSeeds();
        this.#record({ facts, reporter });
        return false;
      }
      if (!reporter.holdsLease || this.peers.has(known.reporter.id)) return false;
      this.forgetDigests();
    }
    this.#record({ facts, reporter });
    return true;
  }

  #record(known: KnownDigest): void {
    if (!this.#digestAllowance.take(1)) return;
    this.digests.push(known.facts);
    this.#digestIndex.set(known.facts.number, known);
  }

  /** Forgets what others than seeds said. */
  #keepSeeds(): void {
    const kept = [...this.#digestIndex.values()].filter(({ reporter }) => reporter.host.isSeed);
    this.forgetDigests();
    for (const known of kept) this.#record(known);
  }

  forgetDigests(): void {
    this.#digestAllowance.giveBack(this.digests.length);
    this.digests.length = 0;
    this.#digestIndex.clear();
    for (const peer of this.peers.values()) peer.digestsTold = 0;
  }
}

/** Whether two readers read the same bytes, as far as both say. */
function agrees(one: PieceFacts, other: PieceFacts): boolean {
  const { strongDigest: mine = other.strongDigest } = one;
  const { strongDigest: theirs = mine } = other;
  return one.digest === other.digest && mine === theirs;
}
