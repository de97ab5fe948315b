import { join } from "node:path";

import { createFile, readdirIfThere, removeIfThere } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";
import { lstatIfThere } from "./fingerprint.ts";
import { parseName, type TaskPaths } from "./paths.ts";

/**
 * Keeps a damaged journal under another name for somebody to look at. It stays in its place, too, so that whoever replaces it may be killed
 * in between. Of one task the last few are kept.
 *
 * @param bytes what is in it, as far as it was read, where a second name is not to be had
 * @returns where it is
 * @throws what the file system throws
 */
export async function setJournalAside(
  files: FileSystem,
  paths: TaskPaths,
  bytes: Uint8Array,
): Promise<string> {
  const counts = await countsOf(files, paths);
  const journal = await files.lstat(paths.journal);
  for (const count of counts) {
    const path = paths.journalDamaged(count);
    const there = await lstatIfThere(files, path);
    if (there?.ino === journal.ino && there.dev === journal.dev) return path;
  }
  const path = nextOf(paths, counts);
  try {
    await files.link(paths.journal, path);
  } catch {
    // Some file systems have no links; what else may be wrong, this meets as well.
    await createFile(files, path, { bytes, mode: 0o600, replace: true });
  }
  for (const count of counts.slice(0, Math.max(0, counts.length + 1 - SET_ASIDE_COUNT_MAX)))
    await removeIfThere(files, paths.journalDamaged(count));
  return path;
}

/** The same for what lies in the place of a file and is none: out of the way, for there is nothing to be had of it. */
export async function moveAside(
  files: FileSystem,
  paths: TaskPaths,
  from: string,
): Promise<string> {
  const path = nextOf(paths, await countsOf(files, paths));
  await files.rename(from, path);
  return path;
}

/** Makes room under a name: a file there is removed, a directory, which somebody must have put there, is set aside. */
export async function clearPlace(files: FileSystem, paths: TaskPaths, path: string): Promise<void> {
  const stat = await lstatIfThere(files, path);
  if (stat?.isDirectory() === true) await moveAside(files, paths, path);
  else await removeIfThere(files, path);
}

/** A journal that was set aside. */
export interface SetAside {
  readonly path: string;
  readonly sinceMs: number;
}

/** Which of them are not worth keeping any longer. */
export function expiredOf(kept: readonly SetAside[], nowMs: number): readonly SetAside[] {
  return kept
    .toSorted((a, b) => b.sinceMs - a.sinceMs)
    .filter(
      ({ sinceMs }, index) => index >= TOTAL_COUNT_MAX || nowMs - sinceMs > SET_ASIDE_AGE_MS_MAX,
    );
}

function nextOf(paths: TaskPaths, counts: readonly number[]): string {
  return paths.journalDamaged((counts.at(-1) ?? 0) + 1);
}

async function countsOf(files: FileSystem, paths: TaskPaths): Promise<number[]> {
  const counts: number[] = [];
  for (const name of await readdirIfThere(files, paths.directory)) {
    const parsed = parseName(name);
    if (parsed?.kind !== "damaged") continue;
    if (paths.journalDamaged(parsed.count) === join(paths.directory, name))
      counts.push(parsed.count);
  }
  return counts.toSorted((a, b) => a - b);
}

/** Of one task. */
const SET_ASIDE_COUNT_MAX = 2;
/** Of all tasks. */
const TOTAL_COUNT_MAX = 64;
/** A month. */
const SET_ASIDE_AGE_MS_MAX = 30 * 24 * 3600 * 1000;
