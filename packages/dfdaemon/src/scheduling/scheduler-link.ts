import type { Priority__Output, SchedulingPolicy__Output } from "@damselfly/rpc";
import type { PieceRecord } from "@damselfly/storage";
import type { PieceDigests } from "../piece-digests.ts";

/** What a scheduler must know to place a peer. */
export interface PeerRegistration {
  readonly taskId: string;
  readonly peerId: string;
  readonly url: string;
  readonly digest?: string;
  readonly tag: string;
  readonly application: string;
  readonly priority: Priority__Output;
  readonly filteredQueryParams: readonly string[];
  /** What the user asked for; absent: chosen from the content length. */
  readonly requestedPieceLength?: number;
  readonly range?: { readonly offset: number; readonly length: number };
  /** Of our copy: peers of one task with different versions have nothing to give each other. */
  readonly contentVersion: string;
  readonly contentLength: number;
  readonly pieceLength: number;
  readonly pieceCount: number;
  readonly concurrentPieceCount: number;
  /** The scheduler itself told this daemon to read the origin. */
  readonly needBackToSource: boolean;
  readonly disableBackToSource: boolean;
  /** As the request had them: a seed that the scheduler asks for the task computes its id from what we were given. */
  readonly contentForCalculatingTaskId?: string;
  readonly enableTaskIdBasedBlobDigest?: boolean;
  readonly schedulingPolicy?: SchedulingPolicy__Output;
  /** Authorities of the origin, PEM; for the seed, too. */
  readonly caCert?: string;
  /** Wants no parents: the whole task is here, and the scheduler is to know. */
  readonly metadataOnly?: boolean;
  /** Goes to a seed that the scheduler asks to fetch the task, for it has no other way to get in. */
  readonly requestHeader: Readonly<Record<string, string>>;
}

/** A peer that may serve us. */
export interface CandidateParent {
  readonly peerId: string;
  readonly hostId: string;
  readonly hostname: string;
  readonly ip: string;
  /** Of its DfdaemonUpload service. */
  readonly port: number;
  /** What the reader of the origin said the pieces are, as far as the scheduler knows. */
  readonly digests: ReadonlyMap<number, PieceDigests>;
}

export type ScheduleEvent =
  /** Try these, besides those already known. */
  | { readonly kind: "parents"; readonly parents: readonly CandidateParent[] }
  /** Fetch from the origin what nobody offers. */
  | {
      readonly kind: "origin";
      readonly reason: string;
      /** The turn at the origin is a lease: `started("origin")` again, while bytes come, renews it. */
      readonly renewable?: boolean;
    }
  /** The task has no content. */
  | { readonly kind: "empty" }
  /** The scheduler has taken a registration that wants no parents. */
  | { readonly kind: "noted" };

/**
 * How a scheduler talks. Dragonfly's answers each question once, tells each peer of a few parents, and forgets a peer whose stream breaks;
 * ours names parents whenever there are new ones, and lends the turn at the origin.
 */
export type SchedulerDialect = "damselfly" | "dragonfly";

/** One peer's conversation with a scheduler about one task. Reports are sent in the background; a broken stream ends `events` with the error. */
export interface PeerSession extends AsyncDisposable {
  readonly schedulerName: string;
  readonly dialect: SchedulerDialect;
  /** Ends when the scheduler ends the stream. Can be iterated once. @throws {DaemonError} `ERR_SCHEDULER` */
  readonly events: AsyncIterable<ScheduleEvent>;
  /**
   * Pieces that were on disk before the conversation began: others may be sent here for them. A scheduler of ours hears which of them were
   * read at the origin; from a seed it takes their digests for what they should be.
   */
  holds(pieces: Iterable<PieceRecord>): void;
  started(from: "parents" | "origin"): void;
  /** `parent` is who it came from; absent: the origin. */
  pieceFinished(piece: PieceRecord, parent?: CandidateParent): void;
  pieceFailed(pieceNumber: number | undefined, parent: CandidateParent): void;
  /** The origin could not be read; `pieceNumber` is absent when it is not one piece's fault. */
  originFailed(pieceNumber: number | undefined, error: Error): void;
  /** Asks for other parents (or the origin). */
  reschedule(exhausted: readonly CandidateParent[], description: string): void;
  /** The last word; resolves when it is on its way. */
  finish(from: "parents" | "origin"): Promise<void>;
  fail(description: string, from: "parents" | "origin"): Promise<void>;
}

/** The way to a cluster's schedulers. */
export interface SchedulerLink {
  /** How the scheduler of this task talks; undefined: not known yet, or there is none. */
  dialectOf(taskId: string): SchedulerDialect | undefined;
  /**
   * Registers a peer. Announces this host first where the scheduler does not know it (any more).
   *
   * @throws {DaemonError} `ERR_SCHEDULER`
   */
  register(
    registration: PeerRegistration,
    options: { readonly signal: AbortSignal },
  ): Promise<PeerSession>;
}
