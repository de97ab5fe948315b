import { randomBytes } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";

import { DfgetError } from "./errors.ts";
import { writeAll } from "./output-file.ts";
import { systemFailure } from "./system-failure.ts";

/**
 * Opens a temporary file that has no name, so nothing can leave it behind.
 *
 * @throws {DfgetError} `ERR_OUTPUT`, `ERR_NO_SPACE`
 */
export async function openSpillFile(directory: string): Promise<SpillFile> {
  const path = join(directory, `dfget-${randomBytes(8).toString("hex")}`);
  try {
    const file = await open(path, "wx+", 0o600);
    await unlink(path);
    return new SpillFile(file, directory);
  } catch (error) {
    throw keepingFailure(directory, error);
  }
}

/** Where pieces wait that are early, at the offset they have in the output. */
export class SpillFile implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #directory: string;

  /**
   * @param file - is closed with it
   * @param directory - where it is, for messages
   */
  constructor(file: FileHandle, directory: string) {
    this.#file = file;
    this.#directory = directory;
  }

  /** @throws {DfgetError} `ERR_OUTPUT`, `ERR_NO_SPACE` */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.#file, offset, bytes);
    } catch (error) {
      throw keepingFailure(this.#directory, error);
    }
  }

  /**
   * Bytes from `offset` on: one at least, `lengthMax` at most, in a buffer that is the caller's.
   *
   * @throws {DfgetError} `ERR_OUTPUT`
   */
  async read(offset: number, lengthMax: number): Promise<Uint8Array> {
    const buffer = Buffer.allocUnsafe(lengthMax);
    let bytesRead: number;
    try {
      ({ bytesRead } = await this.#file.read(buffer, 0, lengthMax, offset));
    } catch (error) {
      throw keepingFailure(this.#directory, error);
    }
    if (bytesRead > 0) return buffer.subarray(0, bytesRead);
    throw new DfgetError(
      "ERR_OUTPUT",
      `Cannot keep early pieces in ${this.#directory}: the temporary file was cut short`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

function keepingFailure(directory: string, error: unknown): unknown {
  return systemFailure(`keep early pieces in ${directory}`, error);
}
