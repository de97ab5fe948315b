import type { BufferPool } from "./buffer-pool.ts";
import type { FileSystem } from "./file-system.ts";
import type { Layout } from "./layout.ts";
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
  readonly logger: Logger;
  readonly clock: Clock;
  /** Devices that were found unable to share blocks between files; `output` adds to it. */
  readonly withoutClones: Set<bigint>;
}

/** Wall time, in Unix milliseconds. */
export interface Clock {
  now(): number;
}
