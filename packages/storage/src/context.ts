import type { BufferPool } from "./buffer-pool.ts";
import type { FileSystem } from "./file-system.ts";
import type { Layout } from "./layout.ts";
import type { DigestThread } from "./digest-thread.ts";
import type { Logger } from "./logger.ts";
import type { NewDirectories } from "./new-directories.ts";
import type { OpenFiles } from "./open-files.ts";
import type { Paths } from "./paths.ts";

/** What all tasks of one storage share. */
export interface StorageContext {
  readonly paths: Paths;
  readonly fileSystem: FileSystem;
  readonly files: OpenFiles;
  readonly readBuffers: BufferPool;
  readonly writeBuffers: BufferPool;
  readonly layout: Layout;
  readonly newDirectories: NewDirectories;
  readonly digestThread: DigestThread;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly onDamaged: (found: DamagedPieces) => void;
  /** Computed of every piece that is written, besides what is asked for. */
  readonly pieceDigest: PieceDigest;
  /** Devices that were found unable to share blocks between files; `output` adds to it. */
  readonly withoutClones: Set<bigint>;
}

/** Pieces that are not what was recorded. */
export interface DamagedPieces {
  readonly taskId: string;
  readonly pieceCount: number;
  /** `changed`: stat showed that the file had been changed, or left unfinished. `rotten`: it did not; the digest was another. */
  readonly how: "changed" | "rotten";
}

/** What is known of a piece at least. `sha256` is `crc32` and SHA-256: who means to can make other bytes with the same CRC-32. */
export type PieceDigest = "crc32" | "sha256";

/** Wall time, in Unix milliseconds. */
export interface Clock {
  now(): number;
}
