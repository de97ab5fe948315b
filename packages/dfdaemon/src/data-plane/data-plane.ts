import type { Storage } from "@damselfly/storage";
import type { PieceRecord, StoredTask } from "@damselfly/storage";
import type { ParentAddress, Protocol } from "@damselfly/transport";

/** A protocol this host serves pieces over, as it goes into the peer extension. */
export interface TransportOffer {
  readonly protocol: Protocol;
  readonly ports: readonly number[];
  readonly tls: boolean;
}

/** One piece to fetch from one parent. */
export interface PieceFetch {
  readonly task: StoredTask;
  readonly pieceNumber: number;
  readonly parent: ParentAddress;
  /** What the origin's reader said the piece is, when known: a parent that says otherwise is refused. */
  readonly expectedDigest?: string;
  readonly signal: AbortSignal;
  /** Called after each chunk, with its length in bytes. */
  readonly onBytes?: (length: number) => void;
}

/**
 * Everything that touches content: storage, piece servers, downloaders. The rest of the daemon talks to it in small requests only, so
 * that it can live in processes of its own.
 */
export interface DataPlane extends AsyncDisposable {
  readonly storage: Storage;
  /** What others can fetch from us. */
  readonly offers: readonly TransportOffer[];
  /**
   * Fetches, checks and records one piece.
   *
   * @throws {TransportError} what the transport says
   * @throws {StorageError} `ERR_DIGEST_MISMATCH` when the parent sent wrong bytes; others when the disk fails
   */
  fetchPiece(fetch: PieceFetch): Promise<PieceRecord>;
}
