import type { Lack } from "./accounting.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { Clock, DamagedPieces, PieceDigest, StorageContext } from "./context.ts";
import { toStorageError } from "./errors.ts";
import { makeDirectory, removeTree } from "./file-io.ts";
import { DigestThread } from "./digest-thread.ts";
import type { FileSystem } from "./file-system.ts";
import { Layout } from "./layout.ts";
import { type Logger, SILENT } from "./logger.ts";
import { NewDirectories } from "./new-directories.ts";
import { OpenFiles } from "./open-files.ts";
import { Paths } from "./paths.ts";
import type { Storage } from "./storage.ts";
import { DiskStorage } from "./disk-storage.ts";
import { DEFAULT_STORAGE_LIMITS, type StorageLimits } from "./storage-limits.ts";
import { type Sweep, sweep } from "./sweep.ts";
import { SYSTEM_FILES } from "./system-files.ts";

export interface StorageOptions {
  /** Everything lies in `damselfly/` below it; nothing else there is touched. Both are created if missing. */
  readonly directory: string;
  /** False: begin with nothing, as Dragonfly's daemon does. Default true. */
  readonly keep?: boolean;
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly limits?: Partial<StorageLimits>;
  /** Called with the path of a file that other processes may hold open and are not to use any more: see `ContentFiles.forget`. */
  readonly onForget?: (path: string) => void;
  /** Bytes that all files here may take together; 0, the default: what the disk has. */
  readonly quotaBytes?: number;
  /** Called when a task does not fit, or content of unknown length as far as it has come. True: something was deleted, try again. */
  readonly makeRoom?: (lack: Lack) => Promise<boolean>;
  /** Called when pieces were found damaged and are not offered any more: in a file that has changed, or one that has rotted. */
  readonly onDamaged?: (found: DamagedPieces) => void;
  /** Default `crc32`, as in Dragonfly. Pieces that are there already stay as they are. */
  readonly pieceDigest?: PieceDigest;
  /** Default: this machine's. */
  readonly fileSystem?: FileSystem;
}

/**
 * Opens the storage of a directory: one process at a time. What a dead one left half-made is swept away.
 *
 * @throws {StorageError} `ERR_STORAGE_LOCKED`, `ERR_STORAGE_VERSION`, `ERR_READ_ONLY`, `ERR_NO_SPACE`, `ERR_IO`
 */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { directory, keep = true, logger = SILENT, clock = Date } = options;
  const { fileSystem = SYSTEM_FILES } = options;
  const limits = { ...DEFAULT_STORAGE_LIMITS, ...options.limits };
  const paths = new Paths(directory);
  const layout = new Layout({ fileSystem, paths, logger });
  try {
    try {
      await layout.open();
      if (!keep) await removeContent(fileSystem, paths);
      const { taskIds, pins, ...counts } = await sweep(fileSystem, paths, {
        logger,
        nowMs: clock.now(),
      });
      logger.info({ taskCount: taskIds.size, ...counts }, describeSweep(taskIds.size, counts));
      const context: StorageContext = {
        paths,
        fileSystem,
        layout,
        newDirectories: new NewDirectories({ fileSystem, layout, parent: paths.content }),
        files: new OpenFiles({
          fileSystem,
          idleCountMax: limits.idleFileCountMax,
          onForget: options.onForget,
        }),
        readBuffers: new BufferPool({ length: limits.readLength, idleCountMax: 16 }),
        writeBuffers: new BufferPool({ length: limits.writeLength, idleCountMax: 16 }),
        digestThread: new DigestThread(),
        logger,
        clock,
        onDamaged: options.onDamaged ?? (() => undefined),
        pieceDigest: options.pieceDigest ?? "crc32",
        withoutClones: new Set(),
      };
      return new DiskStorage({
        context,
        taskIds,
        pins,
        quotaBytes: options.quotaBytes ?? 0,
        makeRoom: options.makeRoom ?? (async () => false),
      });
    } catch (error) {
      await layout[Symbol.asyncDispose]();
      throw error;
    }
  } catch (error) {
    throw toStorageError(`open storage ${paths.root}`, error);
  }
}

async function removeContent(files: FileSystem, paths: Paths): Promise<void> {
  await removeTree(files, paths.content);
  await makeDirectory(files, paths.content);
}

/** For the log, as in "storage opened: 12 tasks; removed 1 half-made file". */
function describeSweep(taskCount: number, counts: Omit<Sweep, "taskIds" | "pins">): string {
  const { halfMadeCount, orphanCount, outputCount, expiredCount, setAsideCount, failedCount } =
    counts;
  const removed = [
    [halfMadeCount, "half-made file"],
    [outputCount, "temporary file of an output"],
    [orphanCount, "content without a journal"],
    [expiredCount, "old damaged journal"],
  ] as const;
  const parts = removed.flatMap(([count, what]) => (count > 0 ? [`${count} x ${what}`] : []));
  return [
    `storage opened: tasks on disk: ${taskCount}`,
    ...(parts.length > 0 ? [`removed: ${parts.join(", ")}`] : []),
    ...(failedCount > 0 ? [`could not be removed: ${failedCount}`] : []),
    ...(setAsideCount > 0 ? [`damaged journals kept for inspection: ${setAsideCount}`] : []),
  ].join("; ");
}
