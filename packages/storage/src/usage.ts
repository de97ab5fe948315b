import { join } from "node:path";

import { readdirIfThere } from "./file-io.ts";
import type { FileStat, FileSystem } from "./file-system.ts";
import { lstatIfThere } from "./fingerprint.ts";
import { parseName, type Paths } from "./paths.ts";

/** What the files of one task take of the disk, as stat has it. */
export interface MeasuredTask {
  /** Content, journal, and journals of it that were set aside: in whole blocks, holes not counted. */
  readonly bytes: number;
  /** What of it comes back when the task is deleted: content that has another name, a user's output, does not. */
  readonly freeableBytes: number;
  /** When its journal was last written to, which is when it was last used, or later: see `Journal.touch`. */
  readonly journalAtMs: number;
}

export interface MeasuredFiles {
  /** Those with a journal. */
  readonly tasks: ReadonlyMap<string, MeasuredTask>;
  /** Everything else but content on its way in: journals set aside of tasks that are gone. */
  readonly otherBytes: number;
}

/** Looks at every file, and reads none. @throws what the file system throws */
export async function measureFiles(files: FileSystem, paths: Paths): Promise<MeasuredFiles> {
  const tasks = new Map<string, MeasuredTask>();
  let otherBytes = 0;
  for (const prefix of await readdirIfThere(files, paths.content)) {
    const found = await measureDirectory(files, join(paths.content, prefix));
    for (const [taskId, parts] of found) {
      const { journal } = parts;
      if (journal === undefined) otherBytes += parts.contentBytes + parts.restBytes;
      else tasks.set(taskId, toMeasured(parts, journal));
    }
  }
  return { tasks, otherBytes };
}

interface Parts {
  journal: FileStat | undefined;
  contentBytes: number;
  isShared: boolean;
  restBytes: number;
}

async function measureDirectory(
  files: FileSystem,
  directory: string,
): Promise<ReadonlyMap<string, Parts>> {
  const found = new Map<string, Parts>();
  // Some 25 names at a time, of 100,000 tasks.
  const names = await readdirIfThere(files, directory);
  const stats = await Promise.all(names.map((name) => lstatIfThere(files, join(directory, name))));
  for (const [index, stat] of stats.entries()) {
    const parsed = parseName(names[index] ?? "");
    if (parsed === undefined || stat === undefined) continue;
    const parts = found.get(parsed.taskId) ?? {
      journal: undefined,
      contentBytes: 0,
      isShared: false,
      restBytes: 0,
    };
    found.set(parsed.taskId, parts);
    if (parsed.kind === "journal") parts.journal = stat;
    if (parsed.kind === "content") {
      parts.contentBytes = bytesOf(stat);
      parts.isShared = stat.nlink > 1n;
    } else if (parsed.kind !== "journal") parts.restBytes += bytesOf(stat);
  }
  return found;
}

function toMeasured(parts: Parts, journal: FileStat): MeasuredTask {
  const journalBytes = bytesOf(journal);
  return {
    bytes: parts.contentBytes + journalBytes + parts.restBytes,
    freeableBytes: journalBytes + (parts.isShared ? 0 : parts.contentBytes),
    journalAtMs: Number(journal.mtimeNs / 1_000_000n),
  };
}

/** In whole blocks, holes not counted. */
export function bytesOf(stat: FileStat | undefined): number {
  return Number(stat?.blocks ?? 0n) * BLOCK_LENGTH;
}

/** In which `stat` counts, whatever the disk has. */
const BLOCK_LENGTH = 512;
