import type { Socket } from "node:net";
import type { PieceDraft, PieceRecord, Spool, Storage, StoredTask } from "@damselfly/storage";
import type { CertificateChain, ParentAddress, Protocol } from "@damselfly/transport";
import type { OriginRequest, OriginStat, RedirectTarget } from "../origins/origin.ts";
import type { PieceDigests } from "../piece-digests.ts";
import type { WantedPiece } from "./assert-announced.ts";
import type { ContentStream } from "./content-stream.ts";
import type { Announcement, HedgeObserver } from "./relay/hedged-piece.ts";
import { nameOf, type Supplier } from "./relay/supplier.ts";
import type { TransportReport } from "./transport-report.ts";

/** A protocol this host serves pieces over, as it goes into the peer extension. */
export interface TransportOffer {
  readonly protocol: Protocol;
  readonly ports: readonly number[];
  readonly tls: boolean;
}

/** The second QUIC backend's ports, where peers are known by their keys instead of certificates. */
export interface QuinnOffer {
  /** One a process. */
  readonly ports: readonly number[];
  /** Ours, as libp2p encodes it: of the ports, and of what we dial from. */
  readonly publicKey: Uint8Array;
  /**
   * Lets the holder of a key fetch from us, until a while after the returned function is called. Only of a key that came
   * over a channel where both sides are known: with certificates, what was shown there, which the key is worth as much as.
   */
  admit(publicKey: Uint8Array, certificates?: CertificateChain): () => void;
}

/** One piece to fetch, from one parent at first. */
export interface PieceFetch {
  readonly task: StoredTask;
  readonly pieceNumber: number;
  /** Asked first: the supplier 0. */
  readonly parent: ParentAddress;
  /** What the origin's reader said the piece is, when known: a parent that says otherwise is refused. */
  readonly expected?: PieceDigests;
  readonly signal: AbortSignal;
  /** Called as bytes come, with how many. */
  readonly onBytes?: (length: number) => void;
  /** Whoever decides whom else it is asked of. Absent: nobody else, and no rest of it either. */
  readonly hedging?: PieceHedging;
}

/** How a piece gets on, for whoever decides whom else it is asked of. All is told by the numbers of suppliers. */
export interface PieceHedging extends HedgeObserver {
  /**
   * It has begun. `offer` has another supplier asked, too, for what is missing of the piece: whoever announces it first goes on. Called again
   * when everything begins anew, because the process that fetched it has ended.
   */
  began(offer: (supplier: Supplier) => void): void;
  /** The process that fetched it has ended: until `began`, nobody fetches it; then it is asked of this supplier alone. */
  lost(nextId: number): void;
}

/** A body to read from an origin. */
export interface OriginRead {
  readonly request: OriginRequest;
  /** Only these bytes, of the version that `expected` describes. Absent: all of it, of whatever version there is. */
  readonly range?: {
    readonly offset: number;
    readonly length: number;
    readonly expected: Pick<OriginStat, "etag" | "lastModified" | "contentLength">;
  };
  /** Of a range: where to begin, if an earlier request was sent on. */
  readonly target?: RedirectTarget | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called as bytes come, with how many. */
  readonly onBytes?: ((length: number) => void) | undefined;
  /** As `HedgeObserver.waited`, of an open body: so that a slow disk is not held against the origin. */
  readonly onWaited?: ((ms: number) => void) | undefined;
}

/** A body whose header has come. Its streams throw what `OriginBody.content` does. */
export interface OriginContent extends ContentStream {
  readonly stat: OriginStat;
}

/** A whole body on disk. The spool is the caller's to dispose. */
export interface SpooledOrigin {
  readonly stat: OriginStat;
  readonly spool: Spool;
}

/**
 * Everything that touches content: piece servers, downloaders, bodies of origins, hashing. The rest of the daemon talks to it in small
 * requests only, so that it can live in processes of its own. Records and journals stay with whoever has the storage open.
 */
export interface DataPlane extends AsyncDisposable {
  /** Takes over a plain connection, accepted elsewhere, that begins to speak Vortex; the bytes read of it are unshifted. */
  acceptForeign(socket: Socket): void;
  readonly storage: Storage;
  /** What others can fetch from us. */
  readonly offers: readonly TransportOffer[];
  /** Undefined where that backend is off, or does not load. */
  readonly quinn: QuinnOffer | undefined;
  /**
   * Fetches, checks and records one piece. With `hedging` several suppliers may have brought it; each that failed has been told of then.
   * It counts as that one's who announced it first.
   *
   * @throws {TransportError} what the transport says
   * @throws {StorageError} `ERR_DIGEST_MISMATCH` when wrong bytes were sent; others when the disk fails
   * @throws {DaemonError} `ERR_DATA_PLANE` when the process that fetches ends again and again
   */
  fetchPiece(fetch: PieceFetch): Promise<PieceRecord>;
  /**
   * Asks an origin for a body; resolves when its header has come.
   *
   * @throws {OriginError}
   * @throws {DaemonError} `ERR_DATA_PLANE_LOST`, also while the body is read: it is to be asked for again. `ERR_DATA_PLANE`
   */
  readOrigin(read: OriginRead): Promise<OriginContent>;
  /** Receives a whole body, whose length nobody knows before, into a file. @throws as `readOrigin`; {StorageError} */
  spoolOrigin(read: Omit<OriginRead, "range">): Promise<SpooledOrigin>;
  /** The content of a spool, from its start. The spool stays the caller's. */
  openSpool(spool: Spool): Promise<ContentStream>;
  /** How pieces travel at this moment, and why. */
  transportReport(): Promise<TransportReport>;
  /** Takes no more children, and resolves when the pieces that are being served have been, or after the servers' bounds. Fetching goes on. */
  drain(): Promise<void>;
}

/** With no more pieces missing than these, one that is late is what everybody waits for: nothing is tried out. */
const TRIAL_TAIL = 16;

/** Whether other protocols may be tried out with a piece of this task. */
export function mayTryWith(task: StoredTask): boolean {
  return task.pieceCount - task.pieces.size > TRIAL_TAIL;
}

/** What is asked for, and has to be announced. */
export function wantedOf({ task, pieceNumber, expected }: PieceFetch): WantedPiece {
  const { taskId } = task.facts;
  return { taskId, number: pieceNumber, ...task.bounds(pieceNumber), expected };
}

/** How a piece that was announced is to be written. */
export function draftOf(
  { piece, supplier }: Announcement,
  { expected }: Pick<WantedPiece, "expected">,
): PieceDraft {
  const { number, digest } = piece;
  if (supplier.kind === "origin") return { number, trafficType: "BACK_TO_SOURCE", parentId: "" };
  const strongDigest = expected?.strongDigest ?? piece.strongDigest;
  return { number, digest, strongDigest, trafficType: "REMOTE_PEER", parentId: nameOf(supplier) };
}
