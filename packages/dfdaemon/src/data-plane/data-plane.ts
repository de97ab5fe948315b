import type { Storage } from "@damselfly/storage";
import type { PieceRecord, StoredTask } from "@damselfly/storage";
import type { ParentAddress, Protocol } from "@damselfly/transport";
import type { TransportReport } from "./transport-report.ts";

/** A protocol this host serves pieces over, as it goes into the peer extension. */
export interface TransportOffer {
  readonly protocol: Protocol;
  readonly ports: readonly number[];
  readonly tls: boolean;
}

/** The second QUIC port, where peers are known by their keys instead of certificates. */
export interface QuinnOffer {
  readonly port: number;
  /** Ours, as libp2p encodes it: of the port, and of what we dial from. */
  readonly publicKey: Uint8Array;
  /**
   * Lets the holder of a key fetch from us, until a while after the returned function is called. Only of a key that came
   * over a channel where both sides are known.
   */
  admit(publicKey: Uint8Array): () => void;
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
  /** Undefined where that backend is off, or does not load. */
  readonly quinn: QuinnOffer | undefined;
  /**
   * Fetches, checks and records one piece.
   *
   * @throws {TransportError} what the transport says
   * @throws {StorageError} `ERR_DIGEST_MISMATCH` when the parent sent wrong bytes; others when the disk fails
   */
  fetchPiece(fetch: PieceFetch): Promise<PieceRecord>;
  /** How pieces travel at this moment, and why. */
  transportReport(): Promise<TransportReport>;
}
