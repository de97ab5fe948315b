import { systemCode } from "./errors.ts";
import type { FileStat, FileSystem } from "./file-system.ts";

/**
 * What stat shows of a content file. While it stays the same nobody has written to the file, linked it, unlinked it or
 * put another in its place, but for writes through a memory map to pages that were dirty already and what the disk does by itself.
 * The device is left out: its number may change with a reboot.
 */
export interface Fingerprint {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
}

export interface ContentStat extends Fingerprint {
  readonly dev: bigint;
  readonly nlink: bigint;
}

/** Undefined if there is no regular file under that name. */
export async function statContent(
  files: FileSystem,
  path: string,
): Promise<ContentStat | undefined> {
  const stat = await lstatIfThere(files, path);
  return stat?.isFile() === true ? stat : undefined;
}

/** Does not follow a symbolic link in the last place. */
export async function lstatIfThere(files: FileSystem, path: string): Promise<FileStat | undefined> {
  try {
    return await files.lstat(path);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

export function sameFingerprint(
  left: Fingerprint | undefined,
  right: Fingerprint | undefined,
): boolean {
  if (left === undefined || right === undefined) return false;
  return sameContent(left, right) && left.ctimeNs === right.ctimeNs;
}

/** Equal but for ctime, which a link or an unlink of our own moves. */
export function sameContent(left: Fingerprint, right: Fingerprint): boolean {
  return left.size === right.size && left.mtimeNs === right.mtimeNs && left.ino === right.ino;
}
