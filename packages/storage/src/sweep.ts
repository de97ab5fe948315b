import { join } from "node:path";

import { readdirIfThere, readStart, removeIfThere, removeTree } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";
import { lstatIfThere } from "./fingerprint.ts";
import type { Logger } from "./logger.ts";
import { isOutputTemporary, parseName, type Paths } from "./paths.ts";
import { expiredOf, type SetAside } from "./set-aside.ts";

/** What was found on disk at the start, and what of it was removed. */
export interface Sweep {
  /** Tasks with a journal. */
  readonly taskIds: Set<string>;
  /** Tasks that are to stay, here or not. */
  readonly pins: Set<string>;
  /** Damaged journals that are kept for inspection. */
  setAsideCount: number;
  /** Files that a process left half-made: it was killed, or the machine lost power. */
  halfMadeCount: number;
  /** Contents without a journal, which mean nothing. */
  orphanCount: number;
  /** Temporary files beside users' outputs. */
  outputCount: number;
  /** Journals set aside too long ago, or too many of them. */
  expiredCount: number;
  /** What should have been removed and could not be. */
  failedCount: number;
}

interface Sweeping {
  readonly files: FileSystem;
  readonly paths: Paths;
  readonly logger: Logger;
  readonly sweep: Sweep;
}

/**
 * Looks at everything in the directory, and removes what nobody has a use for. One file that cannot be removed keeps nobody from starting.
 *
 * @throws what the file system throws, if it cannot be read what is there
 */
export async function sweep(
  files: FileSystem,
  paths: Paths,
  { logger, nowMs }: { readonly logger: Logger; readonly nowMs: number },
): Promise<Sweep> {
  const found: Sweep = {
    taskIds: new Set(),
    pins: new Set(),
    setAsideCount: 0,
    halfMadeCount: 0,
    orphanCount: 0,
    outputCount: 0,
    expiredCount: 0,
    failedCount: 0,
  };
  const sweeping: Sweeping = { files, paths, logger, sweep: found };
  await sweepOutputs(sweeping);
  for (const path of [paths.formatNew, paths.scrubNew]) {
    const isThere = (await lstatIfThere(files, path)) !== undefined;
    if (isThere && (await remove(sweeping, path))) found.halfMadeCount += 1;
  }
  for (const name of await readdirIfThere(files, paths.spool))
    if (await remove(sweeping, join(paths.spool, name))) found.halfMadeCount += 1;
  const setAside: SetAside[] = [];
  for (const prefix of await readdirIfThere(files, paths.content))
    setAside.push(...(await sweepDirectory(sweeping, prefix)));
  const expired = expiredOf(setAside, nowMs);
  for (const { path } of expired) if (await remove(sweeping, path)) found.expiredCount += 1;
  found.setAsideCount = setAside.length - found.expiredCount;
  return found;
}

/** The temporary files that a dead process left next to its outputs. */
async function sweepOutputs(sweeping: Sweeping): Promise<void> {
  const { files, paths, logger, sweep: found } = sweeping;
  for (const random of await readdirIfThere(files, paths.outputs)) {
    const note = join(paths.outputs, random);
    try {
      const temporary = (await readStart(files, note, PATH_LENGTH_MAX)).toString();
      // Cut short, it names nothing; and no other file is ever removed.
      if (isOutputTemporary(temporary, random)) {
        const isThere = (await lstatIfThere(files, temporary)) !== undefined;
        const isGone = !isThere || (await remove(sweeping, temporary));
        // Its disk may be away at this moment: the next start tries again.
        if (!isGone) continue;
        if (isThere) found.outputCount += 1;
      }
    } catch (error) {
      logger.warn({ path: note, err: error }, "note of an output cannot be read");
    }
    await remove(sweeping, note);
  }
}

/** @returns the journals that were set aside there */
async function sweepDirectory(sweeping: Sweeping, prefix: string): Promise<SetAside[]> {
  const { files, paths, sweep: found } = sweeping;
  const directory = join(paths.content, prefix);
  const contents: string[] = [];
  const setAside: SetAside[] = [];
  for (const name of await readdirIfThere(files, directory)) {
    const parsed = parseName(name);
    if (parsed === undefined || !parsed.taskId.startsWith(prefix)) continue;
    const path = join(directory, name);
    switch (parsed.kind) {
      case "journal":
        found.taskIds.add(parsed.taskId);
        break;
      case "pin":
        found.pins.add(parsed.taskId);
        break;
      case "content":
        contents.push(parsed.taskId);
        break;
      case "leftover":
        if (await remove(sweeping, path)) found.halfMadeCount += 1;
        break;
      case "damaged": {
        const stat = await lstatIfThere(files, path);
        if (stat !== undefined) setAside.push({ path, sinceMs: Number(stat.ctimeNs / 1_000_000n) });
        break;
      }
    }
  }
  for (const taskId of contents) {
    if (found.taskIds.has(taskId)) continue;
    if (await remove(sweeping, paths.task(taskId).content)) found.orphanCount += 1;
  }
  return setAside;
}

/** @returns whether it is gone */
async function remove({ files, logger, sweep: found }: Sweeping, path: string): Promise<boolean> {
  try {
    const isDirectory = (await lstatIfThere(files, path))?.isDirectory() === true;
    await (isDirectory ? removeTree(files, path) : removeIfThere(files, path));
    return true;
  } catch (error) {
    found.failedCount += 1;
    logger.warn({ path, err: error }, "what a dead process left behind cannot be removed");
    return false;
  }
}

const PATH_LENGTH_MAX = 16 * 1024;
