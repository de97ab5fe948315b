import type { ByteRange } from "./byte-range.ts";
import type { CertificateChain } from "./tls/peer-trust.ts";

/** How pieces travel between two daemons. */
export type Protocol = "quic" | "grpc" | "tcp";

/** Where a parent can be reached for pieces, as it said itself over the control channel. */
export interface ParentAddress {
  /** The host id the parent announced; names it in messages and logs. */
  readonly hostId: string;
  /** An IP literal. */
  readonly ip: string;
  /**
   * The name the parent's certificate must carry beside `d7y`. With TLS on, a certificate without it is
   * refused; undefined leaves the check to the certificate authority alone.
   */
  readonly hostname?: string;
  /** The ports it serves, by protocol; absent: not offered. QUIC has one a data-plane process. */
  readonly ports: {
    readonly quic?: readonly number[];
    readonly grpc?: number;
    readonly tcp?: number;
  };
  /**
   * It shows no certificate: dialled without TLS even where we have one. Dragonfly's daemons are such; they are dialled over
   * TCP alone.
   */
  readonly plain?: boolean;
  /** Its second QUIC port, where peers are known by keys. Absent: not offered. */
  readonly quinn?: KeyedPort;
}

/** A port where the key is proof of who is behind it, as far as whoever told the key is trusted. */
export interface KeyedPort {
  readonly port: number;
  /** The one that must be shown. */
  readonly key: string;
  /** What was shown where the key was told: it is worth as much as they are. Absent: nobody shows any. */
  readonly certificates?: CertificateChain | undefined;
}

export interface PieceRequest {
  /** 64 lower-case hex digits. */
  readonly taskId: string;
  /** Zero-based position of the piece in its task. */
  readonly pieceNumber: number;
  /** Only these bytes of it; the piece is announced as a whole all the same. */
  readonly range?: ByteRange | undefined;
  /** How long the piece is thought to be, in bytes: plans go by it, and nothing breaks if it is wrong. */
  readonly expectedLength?: number | undefined;
}

/** A piece as its holder describes it. */
export interface PieceInfo {
  /** Zero-based position of the piece in its task. */
  readonly number: number;
  /** Position of the first content byte in the task's file, in bytes. */
  readonly offset: number;
  /** Content length in bytes. */
  readonly length: number;
  /** `<algorithm>:<value>`; CRC-32 is decimal, as in `crc32:1475635037`. */
  readonly digest: string;
  /** A second one, that nobody can make other bytes for: `sha256:` and 64 hex digits. Absent: not known. */
  readonly strongDigest?: string;
}

/**
 * A piece that a parent has announced; its content has not been read yet.
 *
 * Dispose it, or run `content` to its end or out of its loop: each frees the stream behind it. Disposing is idempotent.
 */
export interface PieceDownload extends AsyncDisposable {
  readonly piece: PieceInfo;
  /**
   * Exactly the bytes asked for (`piece.length`, or what the piece has of the range), in order, in chunks of any
   * length above 0. Can be iterated once.
   *
   * A chunk is the consumer's until it asks for the next one; then its memory may be used again: copy it to keep it.
   * Nothing is pulled from the network until `next()` is called, so a slow consumer slows the parent down.
   * Leaving the loop early cancels the transfer. The digest is *not* checked here: whoever stores the piece does.
   *
   * Throws `ERR_PIECE_TRUNCATED`, `ERR_PARENT_STALLED`, `ERR_PARENT_FAILED`, `ERR_PARENT_BUSY`, `ERR_PIECE_NOT_FOUND` (the parent has
   * lost the piece meanwhile), `ERR_PROTOCOL`, or the reason of the signal given to `downloadPiece`.
   */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Fetches pieces from any number of parents over one protocol. */
export interface Downloader extends AsyncDisposable {
  readonly protocol: Protocol;
  /**
   * Resolves once the parent has announced the piece, before its content arrives.
   *
   * The signal covers the content too: when it aborts, the content throws its reason.
   *
   * A range lets another parent finish what one has begun. One that begins beyond the end of the piece is
   * `ERR_PIECE_NOT_FOUND`.
   *
   * @throws {TransportError} every code but `ERR_PIECE_TRUNCATED`
   * @throws {RangeError} for a range that no request can carry
   * @throws the signal's reason, when `options.signal` aborts
   */
  downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options?: { readonly signal?: AbortSignal },
  ): Promise<PieceDownload>;
}

/** What a piece server serves from; implemented by storage. */
export interface PieceSource {
  /**
   * Opens a piece for reading, or its bytes in `request.range`. Waits for a piece that is arriving at this moment.
   *
   * A piece may be found damaged while it is read; whoever reads its last byte, as part of the whole or of a range, is
   * told so instead.
   *
   * @throws {TransportError} `ERR_PIECE_NOT_FOUND`, `ERR_PARENT_FAILED`, `ERR_PARENT_BUSY`
   * @throws the signal's reason, when `options.signal` aborts
   */
  openPiece(request: PieceRequest, options?: OpenPieceOptions): Promise<PieceReader>;
}

export interface OpenPieceOptions {
  readonly signal?: AbortSignal;
  /** The child's address, where it has one. */
  readonly childIp?: string;
}

/** An open piece on the serving side; same shape and rules as on the receiving side. */
export interface PieceReader extends PieceDownload {
  /** Aborts when the source needs for others what the piece holds: whoever sends it cuts the child off, which takes too little. */
  readonly reclaimed?: AbortSignal;
}

/** Where a server listens. */
export interface ServerAddress {
  readonly ip: string;
  readonly port: number;
}

/** Made by `serveXxx({ source, limits, tls, … })`. Disposing it finishes the pieces that run, within a bound. */
export interface PieceServer extends AsyncDisposable {
  readonly protocol: Protocol;
  readonly address: ServerAddress;
}

/** What a piece server refuses beyond. Every server enforces all of them. */
export interface ServerLimits {
  /**
   * Connections open at once. For one more, one on which nothing is served is closed; where there is none, the new one is closed as
   * busy.
   */
  readonly connectionCountMax: number;
  /** Of them, from one address (an IPv4 address or an IPv6 /64 network): so that no host keeps all others out. */
  readonly connectionsPerAddressMax: number;
  /** Pieces served at once, over all connections; one more is answered as busy. */
  readonly requestCountMax: number;
  /** Of them, to one address. */
  readonly requestsPerAddressMax: number;
  /** A child that takes no chunk of an answer (half a MiB, from storage) for so long is cut off. Milliseconds. */
  readonly stallMs: number;
}

/** Bounds on waiting. A transfer is stalled when it makes no progress, never when it is merely slow. */
export interface DownloaderTimeouts {
  /** From the dial to a usable connection, in milliseconds. */
  readonly connectMs: number;
  /** From the request to the announcement; long, because a parent may still be receiving the piece. Milliseconds. */
  readonly announceMs: number;
  /** Between two arrivals of content bytes, in milliseconds. */
  readonly stallMs: number;
}

export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  connectionCountMax: 1000,
  // Half: a cluster may be behind one NAT.
  connectionsPerAddressMax: 500,
  requestCountMax: 1024,
  requestsPerAddressMax: 512,
  // As long as Dragonfly's daemons may take to write a piece.
  stallMs: 360_000,
};

/** Dragonfly's connect and piece time-outs; the stall bound is ours. */
export const DEFAULT_DOWNLOADER_TIMEOUTS: DownloaderTimeouts = {
  connectMs: 2_000,
  announceMs: 360_000,
  stallMs: 15_000,
};
