import { BufferPool } from "./buffer-pool.ts";
import type { Clock, StorageContext } from "./context.ts";
import { StorageError, systemCode, toStorageError } from "./errors.ts";
import { createFile, makeDirectories, makeDirectory, readStart, removeTree } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";
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
  try {
    await makeDirectories(fileSystem, directory);
    if (await makeDirectory(fileSystem, paths.root, 0o700))
      await fileSystem.syncDirectory(directory);
    const formatted = await checkFormat(fileSystem, paths);
    const lock = await fileSystem.lock(paths.lock);
    try {
      if (!formatted) await writeFormat(fileSystem, paths);
      if (!keep) await removeTree(fileSystem, paths.content);
      for (const path of [paths.content, paths.spool, paths.outputs]) {
        await makeDirectory(fileSystem, path);
      }
      await fileSystem.syncDirectory(paths.root);
      // Of those made by a process that was killed, too.
      await fileSystem.syncDirectory(paths.content);
      const { taskIds, ...counts } = await sweep(fileSystem, paths, { logger, nowMs: clock.now() });
      logger.info({ taskCount: taskIds.size, ...counts }, describeSweep(taskIds.size, counts));
      const context: StorageContext = {
        paths,
        fileSystem,
        files: new OpenFiles({
          fileSystem,
          idleCountMax: limits.idleFileCountMax,
          onForget: options.onForget,
        }),
        readBuffers: new BufferPool({ length: limits.readLength, idleCountMax: 16 }),
        writeBuffers: new BufferPool({ length: limits.writeLength, idleCountMax: 16 }),
        newDirectories: new NewDirectories(fileSystem, paths.content),
        logger,
        clock,
        withoutClones: new Set(),
      };
      return new DiskStorage({ context, lock, taskIds });
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw error;
    }
  } catch (error) {
    throw toStorageError(`open storage ${paths.root}`, error);
  }
}

/** False: there is no format yet. @throws {StorageError} `ERR_STORAGE_VERSION` before anything is touched */
async function checkFormat(files: FileSystem, paths: Paths): Promise<boolean> {
  let text: string;
  try {
    text = (await readStart(files, paths.format, FORMAT_LENGTH_MAX)).toString();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
  if (text === FORMAT) return true;
  if (text === "" || /^\0*$/.test(text)) return false; // A power failure at the first start of all.
  throw new StorageError(
    "ERR_STORAGE_VERSION",
    `Cannot open storage ${paths.root}: its format is ${JSON.stringify(text.slice(0, 40))}, expected ${JSON.stringify(FORMAT)}`,
  );
}

async function writeFormat(files: FileSystem, paths: Paths): Promise<void> {
  const temporary = `${paths.format}.new`;
  const bytes = Buffer.from(FORMAT);
  await createFile(files, temporary, { bytes, mode: 0o666, replace: true, sync: true });
  await files.rename(temporary, paths.format);
}

/** For the log, as in "storage opened: 12 tasks; removed 1 half-made file". */
function describeSweep(taskCount: number, counts: Omit<Sweep, "taskIds">): string {
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

const FORMAT = "damselfly-storage 1\n";
const FORMAT_LENGTH_MAX = 256;
