import { open, unlink, type FileHandle } from "node:fs/promises";

import { systemCode } from "./errors.ts";

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

/** Makes a rename or a new name in `path` survive a power failure. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes a file that may not be there. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
