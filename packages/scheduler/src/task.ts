import type { Download__Output } from "@damselfly/rpc";
import type { Allowance } from "@damselfly/limits";
import { DigestRecord } from "./digest-record.ts";
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

/** Which content a peer has or wants, as far as it says. Bytes; a version that is empty is not said. */
type Content = Pick<Peer, "contentLength" | "contentVersion">;

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
  readonly #digestAllowance: Allowance;
  /** By the name of the content. What is known of one version says nothing of another. */
  readonly #digestRecords = new Map<string, DigestRecord>();
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

  /** Of the content that was last read, in the order they became known. */
  get digests(): readonly PieceFacts[] {
    const content = { contentLength: this.#contentLength, contentVersion: this.#contentVersion };
    return this.digestsOf(content)?.all ?? [];
  }

  /** Takes over the sizes that a peer learned from the origin; those of another content only to replace what is here. */
  learnSizes(peer: Peer, options: { readonly replace: boolean }): void {
    const { actualContentLength, actualPieceCount } = peer.download;
    if (actualContentLength === undefined) return;
    const { contentVersion } = peer;
    const isOther =
      (this.#contentLength !== undefined && this.#contentLength !== actualContentLength) ||
      (this.#contentVersion !== "" &&
        contentVersion !== "" &&
        this.#contentVersion !== contentVersion);
    if (isOther && !options.replace) return;
    // Who does not say which version it has may have the one that is known.
    if (isOther || contentVersion !== "") this.#contentVersion = contentVersion;
    this.#contentLength = actualContentLength;
    this.#pieceCount = actualPieceCount ?? this.#pieceCount;
  }

  /**
   * What readers of a content said its pieces are. Where none of those said anything who say all of what they read, it is the word of those
   * who say less, as Dragonfly's; so it is where a seed is among these and none among those. Undefined: nobody said anything.
   */
  digestsOf(content: Content): DigestRecord | undefined {
    const records = namesOf(content)
      .map((name) => this.#digestRecords.get(name))
      .filter((record) => record !== undefined);
    return records.find(({ isSeeds }) => isSeeds) ?? records[0];
  }

  /** As `DigestRecord.learn`, of the content that the reader says it reads. */
  learnDigest(reporter: Peer, facts: PieceFacts): boolean {
    const [name] = namesOf(reporter);
    const record = this.#digestRecords.get(name) ?? new DigestRecord(this.#digestAllowance);
    const isRight = record.learn(reporter, facts);
    if (record.all.length > 0) this.#digestRecords.set(name, record);
    return isRight;
  }

  forgetDigests(): void {
    for (const record of this.#digestRecords.values()) record.forget();
    this.#digestRecords.clear();
  }

  /** Forgets the digests of contents that no peer has or wants any more. */
  forgetUnusedDigests(): void {
    if (this.#digestRecords.size < 2) return;
    const used = new Set([...this.peers.values()].flatMap(namesOf));
    for (const [name, record] of this.#digestRecords) {
      if (used.has(name)) continue;
      record.forget();
      this.#digestRecords.delete(name);
    }
  }
}

/** Its own name, then those of what it may be, as far as others say less. */
function namesOf({ contentLength, contentVersion }: Content): [string, ...string[]] {
  const length = contentLength ?? "";
  return [`${length}/${contentVersion}`, `${length}/`, "/"];
}
