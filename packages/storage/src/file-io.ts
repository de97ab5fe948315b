import { constants } from "node:fs";
import { dirname, join } from "node:path";

import { systemCode } from "./errors.ts";
import type { FileHandle, FileSystem } from "./file-system.ts";

/** Writes every byte, however many calls it takes. @throws what the file system throws */
export async function writeAll(
  handle: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let written = 0;
  while (written < bytes.byteLength) {
    const result = await handle.write(
      bytes,
      written,
      bytes.byteLength - written,
      position + written,
    );
    written += result.bytesWritten;
  }
}

/** Reads until `length` bytes are in `buffer` or the file ends; returns how many there are. */
export async function readFully(
  handle: FileHandle,
  buffer: Uint8Array,
  options: { readonly length: number; readonly position: number },
): Promise<number> {
  let count = 0;
  while (count < options.length) {
    const position = options.position + count;
    const { bytesRead } = await handle.read(buffer, count, options.length - count, position);
    if (bytesRead === 0) break;
    count += bytesRead;
  }
  return count;
}

/** The first `lengthMax` bytes of a regular file, or all there are. Does not follow a symbolic link. @throws what the file system throws */
export async function readStart(
  files: FileSystem,
  path: string,
  lengthMax: number,
): Promise<Buffer> {
  const handle = await files.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await handle.stat({ bigint: true });
    const bytes = Buffer.alloc(Math.min(Number(size), lengthMax));
    const count = await readFully(handle, bytes, { length: bytes.byteLength, position: 0 });
    return bytes.subarray(0, count);
  } finally {
    await handle.close();
  }
}

/** Creates a file and writes it. @throws what the file system throws; then the file may be there, cut short */
export async function createFile(
  files: FileSystem,
  path: string,
  options: {
    readonly bytes: Uint8Array;
    readonly mode: number;
    /** Of what may lie there already, nothing is left; without it that is `EEXIST`. */
    readonly replace?: boolean;
    /** It survives a power failure, once its name does. */
    readonly sync?: boolean;
  },
): Promise<void> {
  const over = options.replace === true ? constants.O_TRUNC : constants.O_EXCL;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | over;
  const handle = await files.open(path, flags, options.mode);
  try {
    await writeAll(handle, options.bytes, 0);
    if (options.sync === true) await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes a file that may not be there. */
export async function removeIfThere(files: FileSystem, path: string): Promise<void> {
  try {
    await files.unlink(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}

/** The names in a directory; none if there is no such directory. */
export async function readdirIfThere(files: FileSystem, path: string): Promise<string[]> {
  try {
    return await files.readdir(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw error;
  }
}

/** Creates a directory unless it is there. @returns whether it was created */
export async function makeDirectory(
  files: FileSystem,
  path: string,
  mode?: number,
): Promise<boolean> {
  try {
    await files.mkdir(path, mode);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** The same, with every directory above it that is missing; the names of those that are made survive a power failure. */
export async function makeDirectories(files: FileSystem, path: string): Promise<void> {
  try {
    await makeDirectory(files, path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeDirectories(files, dirname(path));
    await makeDirectory(files, path);
  }
  try {
    // Whether or not it was there: whoever made it may have been killed before this.
    await files.syncDirectory(dirname(path));
  } catch (error) {
    // It is somebody else's directory, which may be entered and not read.
    if (systemCode(error) !== "EACCES") throw error;
  }
}

/** Removes a directory and all that is in it; it may not be there. */
export async function removeTree(files: FileSystem, path: string): Promise<void> {
  for (const name of await readdirIfThere(files, path)) {
    const inner = join(path, name);
    if ((await files.lstat(inner)).isDirectory()) await removeTree(files, inner);
    else await removeIfThere(files, inner);
  }
  try {
    await files.rmdir(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
