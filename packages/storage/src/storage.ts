import type { PieceInfo, PieceRequest, PieceSource } from "@damselfly/transport";

import type { ScrubOptions } from "./scrub.ts";

/** How the bytes of a piece came to this host; names and numbers are Dragonfly's `TrafficType`. */
export type TrafficType = "BACK_TO_SOURCE" | "REMOTE_PEER" | "LOCAL_PEER";

/** What is fixed about a task from its first byte on. */
export interface TaskFacts {
  /** 64 lower-case hex digits. Checked before it becomes part of a path. */
  readonly taskId: string;
  /** As asked for; may hold a token, so it is never logged. */
  readonly url: string;
  /** Bytes in the whole file. */
  readonly contentLength: number;
  /** Bytes in every piece but the last. */
  readonly pieceLength: number;
  /** Hash of length, ETag and Last-Modified: bytes of different versions are never mixed. */
  readonly contentVersion: string;
  /** The origin's validators, for `If-Range`; empty when it sent none. */
  readonly etag: string;
  readonly lastModified: string;
  /** What the origin said, lower-case names. */
  readonly responseHeader: Readonly<Record<string, string>>;
  /** `<algorithm>:<value>` that the origin says the whole content has, strongest first; absent: it says nothing. */
  readonly contentDigests?: readonly string[];
  /** Digest of the credentials that fetched it; asked for with others, it is revalidated first. */
  readonly credentialsDigest: string;
  /** Unix milliseconds. */
  readonly createdAtMs: number;
}

/** A piece on disk whose digest matched. */
export interface PieceRecord extends PieceInfo {
  readonly trafficType: TrafficType;
  /** Host id it came from; empty: from the origin. */
  readonly parentId: string;
  readonly costMs: number;
  /** Unix milliseconds. */
  readonly createdAtMs: number;
}

/** A piece about to be written. */
export interface PieceDraft {
  readonly number: number;
  /** What the sender says it is; undefined (origin): computed and believed. */
  readonly digest?: string;
  /** What the sender, or who read the origin, says in a stronger way: checked where pieces have strong digests (`pieceDigest`). */
  readonly strongDigest?: string | undefined;
  /** What it must be besides, in any of the algorithms of `StoredTask.digest`. */
  readonly digests?: readonly string[];
  readonly trafficType: TrafficType;
  readonly parentId: string;
}

/** Where the content of a piece goes. Plain data, so that another process can write it: see `ContentFiles`. */
export interface PieceTarget {
  /** Of the content file. */
  readonly path: string;
  /** Which file that is: another one may lie under that name by now. */
  readonly ino: bigint;
  /** Of the first byte in the file, in bytes. */
  readonly offset: number;
  /** Bytes the content must have. */
  readonly length: number;
  /** The digests to compute of it, as in `crc32`. */
  readonly algorithms: readonly string[];
  /** For messages, as in "write piece 3 of task … from …". */
  readonly action: string;
}

/** Content that does not pass through this process: somebody else writes it to its place. */
export interface ContentSender {
  /**
   * Called once at most. Resolves with the digests in the order of `target.algorithms` when every byte is with the kernel. Settles only
   * when nothing will be written any more, whatever the signal says.
   *
   * @throws {StorageError} as `writePiece` has it
   */
  sendTo(
    target: PieceTarget,
    options: { readonly signal: AbortSignal },
  ): Promise<readonly string[]>;
  /** Nobody wants it. */
  close(): Promise<void>;
}

/** A recorded piece and where its bytes lie. Plain data but for the two functions; see `ContentFiles`. */
export interface LocatedPiece {
  readonly piece: PieceInfo;
  /** What of it is to be read, within the piece, in bytes. */
  readonly range: { readonly offset: number; readonly length: number };
  /** Of the content file. */
  readonly path: string;
  /** Which file that is: another one may lie under that name by now, then the piece is to be located anew. */
  readonly ino: bigint;
  /** Nobody reads it any more: call it once. `delivered`: it was read up to the end of the piece. */
  end(delivered: boolean): void;
  /** Its bytes are not those that were recorded. Resolves when it is no longer offered. */
  damaged(): Promise<void>;
}

export interface OutputOptions {
  /** Replace an existing file. Without it an existing path is `ERR_OUTPUT_EXISTS`. */
  readonly overwrite?: boolean;
  /** Fail with `ERR_OUTPUT_LINK` rather than copy. */
  readonly forceHardLink?: boolean;
  /** Only these bytes of the task; always a copy. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** `<algorithm>:<value>` the output must have; checked before it appears under its name. */
  readonly digest?: string;
  /** For `digest`, as `StoredTask.digest` has it. */
  readonly sinceMs?: number;
  readonly signal?: AbortSignal;
}

export type OutputMethod = "reflink" | "hardlink" | "copy" | "already-there";

/** One task on disk. Lives as long as its storage; deleting the task makes every method throw `ERR_TASK_GONE`. */
export interface StoredTask {
  readonly facts: TaskFacts;
  readonly pieceCount: number;
  /** Verified pieces by number; the map is live. */
  readonly pieces: ReadonlyMap<number, PieceRecord>;
  /** Every piece is there. */
  readonly complete: boolean;
  /** Complete, synced to disk and recorded as such. */
  readonly sealed: boolean;
  /** Pieces being served at this moment, and served since the storage was opened. */
  readonly uploadingCount: number;
  readonly uploadedCount: number;
  /** Unix milliseconds of the last piece written or served, the last output or read. */
  readonly usedAtMs: number;

  /** Offset and length of a piece, whether or not it is there. @throws {RangeError} if there is no such piece */
  bounds(pieceNumber: number): { readonly offset: number; readonly length: number };

  /**
   * Streams a piece to its place, computes its digest on the way, and records it only if that matches.
   * A piece that is already there is returned as it is and `content` is left alone; one that is being written by somebody else is waited for.
   * Chunks are used up before the next is pulled, as `PieceDownload.content` wants it.
   *
   * If this throws, some bytes may be on disk but the piece is not recorded.
   *
   * @throws {StorageError} `ERR_DIGEST_MISMATCH`, `ERR_PIECE_LENGTH`, `ERR_NO_SPACE`, `ERR_IO`, `ERR_TASK_GONE`
   * @throws whatever `content` throws, its abort reason included
   */
  writePiece(
    draft: PieceDraft,
    content: AsyncIterable<Uint8Array> | ContentSender,
  ): Promise<PieceRecord>;

  /** Calls back after each piece that is recorded or withdrawn from now on, in order. Returns the way to stop. */
  onChange(listener: (change: PieceChange) => void): () => void;

  /**
   * Syncs content and journal, rewrites the journal compactly, and remembers size, mtime and ctime. Idempotent.
   *
   * @throws {StorageError} `ERR_PIECE_MISSING`, also when pieces turn out to be damaged: fetch them and ask again
   */
  seal(): Promise<void>;

  /**
   * Verified bytes of the task, for a caller that wants content over a socket. Waits for nothing: the pieces must be there.
   * A chunk is the caller's until the next is asked for.
   *
   * @throws {RangeError} at once, if the range is not within the content
   * @throws {StorageError} while reading: `ERR_PIECE_MISSING` (also for bytes that changed on disk in the meantime), `ERR_IO`, `ERR_TASK_GONE`
   */
  read(range?: { readonly offset: number; readonly length: number }): AsyncIterable<Uint8Array>;

  /**
   * All bytes of a piece that is there, compared with the strongest digest that is known of it, as those are that are served. They are the
   * caller's. A piece that does not match is withdrawn.
   *
   * @throws {RangeError} if there is no such piece
   * @throws {StorageError} as `read`; `ERR_PIECE_MISSING` also for a piece that was withdrawn
   */
  readPiece(pieceNumber: number): Promise<Uint8Array>;

  /**
   * Reads pieces that are there and compares them with the strongest digest that is known of each, as serving does: the one way to see what
   * stat does not show. Those that do not match are withdrawn; resolves with their numbers. Numbers of pieces that are not there are passed
   * over; a piece that is being looked at already is not read twice.
   *
   * @param options.pace waited for after each read, with its length in bytes: the way to be slow
   * @throws {StorageError} `ERR_IO`, `ERR_TASK_GONE`
   * @throws the signal's reason, when `options.signal` aborts
   */
  verify(
    pieceNumbers: Iterable<number>,
    options?: {
      readonly signal?: AbortSignal;
      readonly pace?: (length: number) => Promise<void>;
    },
  ): Promise<readonly number[]>;

  /**
   * `<algorithm>:<value>` of the whole content. Algorithms: md5, sha1, sha256, sha512, crc32 (decimal). Remembered as long as stat shows that the
   * bytes are the same, which says nothing of a disk that rots.
   *
   * @param options.sinceMs - only what is of bytes that have come, or were read from the disk, since then, as `performance.now()` has it
   * @throws {StorageError} `ERR_PIECE_MISSING`, `ERR_IO`, `ERR_TASK_GONE`, `ERR_DIGEST_MISMATCH` for another algorithm
   */
  digest(algorithm: string, options?: { readonly sinceMs?: number }): Promise<string>;

  /**
   * `digest` will be asked for this one when every piece is there: it is computed from now on as far as the pieces come in order, away from
   * the main thread. Whoever does not ask in the end has lost only the work.
   *
   * @throws {StorageError} `ERR_DIGEST_MISMATCH` for an algorithm that there is not
   */
  expectDigest(algorithm: string): void;

  /**
   * Withdraws pieces whose bytes are what they were said to be, where somebody who knows better says that they are something else. Those
   * that are not there any more, or have been written anew, are passed over. From the call on nobody reads them.
   *
   * @param pieces as `pieces` has them
   * @throws {StorageError} `ERR_TASK_GONE`; `ERR_NO_SPACE` or `ERR_IO` if the journal does not take it: after a restart they may be back
   */
  deny(pieces: readonly PieceRecord[]): Promise<void>;

  /**
   * Puts the content under `path`: reflink, else hard link if no other output is linked, else copy. The file appears
   * atomically and complete, or not at all. `path` must be absolute and its directory exist.
   *
   * `ERR_PIECE_MISSING` may come for a complete task, too: when its file has changed on disk and pieces were dropped, or when some were denied
   * until the file got its name. Fetch them and ask again.
   *
   * @throws {StorageError} `ERR_OUTPUT_EXISTS`, `ERR_OUTPUT_DIRECTORY`, `ERR_OUTPUT_LINK`, `ERR_DIGEST_MISMATCH`, `ERR_PIECE_MISSING`, `ERR_NO_SPACE`, `ERR_IO`
   * @throws the signal's reason, when `options.signal` aborts
   */
  output(path: string, options?: OutputOptions): Promise<OutputMethod>;

  /**
   * Whether `output` could place the file there as things are, before there is content for it.
   *
   * @throws {StorageError} `ERR_OUTPUT_EXISTS`, `ERR_OUTPUT_DIRECTORY`, `ERR_OUTPUT_LINK`, `ERR_IO`
   */
  assertOutput(path: string, options?: OutputOptions): Promise<void>;

  /** Counts as "being fetched" until released: such a task is never evicted. */
  retain(): () => void;
}

/** What a task takes of the disk, and whether it may go. */
export interface TaskUsage {
  readonly taskId: string;
  /** On the disk, in whole blocks, journals and all; holes not counted. */
  readonly bytes: number;
  /** What of it comes back when the task is evicted: content that a user has an output of by another name does not. */
  readonly freeableBytes: number;
  /** Unix milliseconds of the last piece written or served, the last output or read. After a kill it may be a while too early. */
  readonly usedAtMs: number;
  readonly pinned: boolean;
  /** It is being fetched, served or handed out. */
  readonly busy: boolean;
}

/** What everything here takes. */
export interface StorageUsage {
  readonly tasks: readonly TaskUsage[];
  /** All own files, those of no task included. */
  readonly bytes: number;
  /** Still to come for tasks that are being fetched. */
  readonly reservedBytes: number;
  /** Of the disk that they are on, taken and free for us. */
  readonly disk: { readonly totalBytes: number; readonly freeBytes: number };
}

/** What became of a task that was to be evicted. */
export type EvictOutcome = "evicted" | "busy" | "pinned" | "not-here";

export type PieceChange =
  | { readonly kind: "recorded"; readonly piece: PieceRecord }
  /**
   * No longer offered: found damaged on disk. `isDenied`: it was written as something that it is not, so whoever has read it before has
   * something else than the file.
   */
  | { readonly kind: "withdrawn"; readonly pieceNumber: number; readonly isDenied: boolean };

/** Bytes of unknown length, received to the end before their task can start. Disposing removes the file. */
export interface Spool extends AsyncDisposable {
  /** Of the file, for another process to read with `ContentFiles`. */
  readonly path: string;
  /** Bytes. */
  readonly length: number;
  read(range: { readonly offset: number; readonly length: number }): AsyncIterable<Uint8Array>;
}

/** Bytes of unknown length that do not pass through this process. */
export interface SpoolSender {
  /**
   * Writes them to the start of that file, which is there and empty, and resolves with their length. Settles only when nothing will be written any more.
   *
   * @param options.onLength call it as they come, with how many there are by now: content without an end is ended when there is no room for it
   */
  spoolTo(
    path: string,
    options: { readonly signal: AbortSignal; readonly onLength: (length: number) => void },
  ): Promise<number>;
}

/**
 * Everything this host holds. As a `PieceSource` it serves recorded pieces, waits for pieces being written, and checks the
 * digest again while serving: the last chunk of a damaged piece is never yielded, the piece is withdrawn, and the reader throws `ERR_PARENT_FAILED`.
 */
export interface Storage extends PieceSource, AsyncDisposable {
  /**
   * As `openPiece`, for a process that reads the file itself with `ContentFiles`. The piece counts as being served until `end` is called.
   *
   * @throws {TransportError} `ERR_PIECE_NOT_FOUND`, `ERR_PARENT_FAILED`, `ERR_CLOSED`
   * @throws the signal's reason, when `options.signal` aborts
   */
  locatePiece(
    request: PieceRequest,
    options?: { readonly signal?: AbortSignal },
  ): Promise<LocatedPiece>;
  /** The task if any of it is on disk. Reads its journal when first asked; after an unclean stop, checks its pieces. */
  openTask(taskId: string): Promise<StoredTask | undefined>;
  /**
   * The task with these facts: what is on disk if the content version and lengths agree, an empty one otherwise
   * (bytes of the other version are dropped). If there is no room for what is missing, `StorageOptions.makeRoom` is asked for some.
   *
   * @param options.mayKeep asked about what is on disk where that agrees, in one step with the rest. False: it is dropped all the same. May be
   * asked again; absent: it is kept
   * @param options.reserves false: nobody is about to fetch it, so no room is looked for, made or promised. Default true
   * @throws {StorageError} `ERR_NO_SPACE` if the file cannot fit
   */
  createTask(
    facts: TaskFacts,
    options?: {
      readonly mayKeep?: (stored: StoredTask) => boolean;
      readonly reserves?: boolean;
    },
  ): Promise<StoredTask>;
  /** False if there was none. Outputs that users have are theirs and stay. A pin goes with it. */
  deleteTask(taskId: string): Promise<boolean>;
  /**
   * Deletes the task unless it is pinned or in use, which is found out in one step with it.
   *
   * @throws {StorageError} `ERR_STORAGE_VERSION` for one that a newer version wrote, which stays; `ERR_IO`
   */
  evictTask(taskId: string): Promise<EvictOutcome>;
  /** Keeps a task from being evicted, over restarts and over other versions of its file; or does so no longer. False: there is no such task. @throws {StorageError} */
  pinTask(taskId: string, pinned: boolean): Promise<boolean>;
  /** Looks at every file, and reads none, so unreadable tasks are counted as well. Writes down when tasks were last used. @throws {StorageError} */
  usage(): Promise<StorageUsage>;
  /** Every task on disk, by its journal: content is looked at when a task is used. */
  listTasks(): Promise<readonly StoredTask[]>;
  /** As `scrub` has it: runs until its signal aborts, or the storage is disposed. */
  scrub(options: ScrubOptions): Promise<void>;
  /** Receives `content` to its end into a temporary file, as long as there is room. @throws {StorageError} `ERR_NO_SPACE`, `ERR_IO` */
  spool(content: AsyncIterable<Uint8Array> | SpoolSender): Promise<Spool>;
}
