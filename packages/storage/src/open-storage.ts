import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { BufferPool } from "./buffer-pool.ts";
import type { Clock, StorageContext } from "./context.ts";
import { StorageError, systemCode, toStorageError } from "./errors.ts";
import { removeIfThere } from "./file-io.ts";
import { acquireLock } from "./lock.ts";
import { type Logger, SILENT } from "./logger.ts";
import { OpenFiles } from "./open-files.ts";
import { isOutputTemporary, parseName, Paths } from "./paths.ts";
import type { Storage } from "./storage.ts";
import { DiskStorage } from "./disk-storage.ts";
import { DEFAULT_STORAGE_LIMITS, type StorageLimits } from "./storage-limits.ts";

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
}

/**
 * Opens the storage of a directory: one process at a time. What a dead one left half-made is swept away.
 *
 * @throws {StorageError} `ERR_STORAGE_LOCKED`, `ERR_STORAGE_VERSION`, `ERR_READ_ONLY`, `ERR_NO_SPACE`, `ERR_IO`
 */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { directory, keep = true, logger = SILENT, clock = Date } = options;
  const limits = { ...DEFAULT_STORAGE_LIMITS, ...options.limits };
  const paths = new Paths(directory);
  try {
    await mkdir(directory, { recursive: true });
    await mkdir(paths.root, { mode: 0o700 }).catch((error: unknown) => {
      if (systemCode(error) !== "EEXIST") throw error;
    });
    const formatted = await checkFormat(paths);
    const lock = await acquireLock(paths.lock);
    try {
      if (!formatted) await writeFormat(paths);
      await sweepOutputs(paths, logger);
      await rm(paths.spool, { recursive: true, force: true });
      if (!keep) await rm(paths.content, { recursive: true, force: true });
      for (const path of [paths.content, paths.spool, paths.outputs]) {
        await mkdir(path, { recursive: true });
      }
      const taskIds = await scan(paths, logger);
      const context: StorageContext = {
        paths,
        files: new OpenFiles({
          idleCountMax: limits.idleFileCountMax,
          onForget: options.onForget,
        }),
        readBuffers: new BufferPool({ length: limits.readLength, idleCountMax: 16 }),
        writeBuffers: new BufferPool({ length: limits.writeLength, idleCountMax: 16 }),
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
async function checkFormat(paths: Paths): Promise<boolean> {
  let text: string;
  try {
    text = await readFile(paths.format, "utf8");
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

async function writeFormat(paths: Paths): Promise<void> {
  const temporary = `${paths.format}.new`;
  const handle = await open(temporary, "w");
  try {
    await handle.writeFile(FORMAT);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, paths.format);
}

/** Removes the temporary files that a dead process left next to its outputs. */
async function sweepOutputs(paths: Paths, logger: Logger): Promise<void> {
  for (const random of await readdirIfThere(paths.outputs)) {
    const note = join(paths.outputs, random);
    const temporary = await readFile(note, "utf8");
    // Cut short, it names nothing; and no other file is ever removed.
    if (isOutputTemporary(temporary, random)) {
      await removeIfThere(temporary).catch((error: unknown) => {
        logger.warn(
          { path: temporary, err: error },
          "temporary file of an output cannot be removed",
        );
      });
    }
    await removeIfThere(note);
  }
}

/** The tasks on disk. Content without a journal means nothing and is removed, half-made replacements too. */
async function scan(paths: Paths, logger: Logger): Promise<Set<string>> {
  const journals = new Set<string>();
  for (const prefix of await readdirIfThere(paths.content)) {
    const directory = join(paths.content, prefix);
    const names = await readdirIfThere(directory);
    const contents: string[] = [];
    for (const name of names) {
      const parsed = parseName(name);
      if (parsed === undefined || !parsed.taskId.startsWith(prefix)) continue;
      if (parsed.kind === "journal") journals.add(parsed.taskId);
      if (parsed.kind === "content") contents.push(parsed.taskId);
      if (parsed.kind === "leftover") await removeIfThere(join(directory, name));
    }
    for (const taskId of contents) {
      if (journals.has(taskId)) continue;
      logger.info({ taskId }, "content without a journal is removed");
      await removeIfThere(paths.task(taskId).content);
    }
  }
  return journals;
}

async function readdirIfThere(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw error;
  }
}

const FORMAT = "damselfly-storage 1\n";
