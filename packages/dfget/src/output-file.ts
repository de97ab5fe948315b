import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, rename, statfs, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { createFileHash } from "./file-hash.ts";
import type { FileDigest } from "./options.ts";
import type { PieceSink } from "./piece-sink.ts";
import { systemFailure } from "./system-failure.ts";

/**
 * A file that appears at `path` when it is complete, or not at all: it is written under another name beside it, and takes the name by
 * a link that fails if somebody else was faster, or with `overwrite` by a rename. Disposing removes what was not finished.
 *
 * @throws {DfgetError} `ERR_OUTPUT`, `ERR_NO_SPACE`
 */
export async function openOutputFile(options: {
  readonly path: string;
  /** Bytes. */
  readonly length: number;
  readonly overwrite: boolean;
  readonly digest: FileDigest | undefined;
}): Promise<PieceSink> {
  const { path, length } = options;
  await assertSpace(dirname(path), length);
  const temporaryPath = join(dirname(path), `.dfget-${randomBytes(8).toString("hex")}`);
  const file = await orOutputError(path, open(temporaryPath, "wx+", 0o644));
  try {
    await file.truncate(length);
  } catch (error) {
    await file.close();
    await unlink(temporaryPath);
    throw outputError(path, error);
  }
  return new OutputFile(file, temporaryPath, options);
}

class OutputFile implements PieceSink {
  readonly #file: FileHandle;
  readonly #temporaryPath: string;
  readonly #options: {
    readonly path: string;
    readonly length: number;
    readonly overwrite: boolean;
    readonly digest: FileDigest | undefined;
  };
  #isFinished = false;
  #isDisposed = false;

  constructor(
    file: FileHandle,
    temporaryPath: string,
    options: {
      readonly path: string;
      readonly length: number;
      readonly overwrite: boolean;
      readonly digest: FileDigest | undefined;
    },
  ) {
    this.#file = file;
    this.#temporaryPath = temporaryPath;
    this.#options = options;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await orOutputError(this.#options.path, writeAll(this.#file, offset, bytes));
  }

  async finish(): Promise<void> {
    const { path, overwrite, digest } = this.#options;
    if (digest !== undefined) await this.#assertDigest(digest);
    await orOutputError(path, this.#file.close());
    await orOutputError(
      path,
      overwrite
        ? rename(this.#temporaryPath, path)
        : linkWithoutClobbering(this.#temporaryPath, path),
    );
    this.#isFinished = true;
  }

  discard(): Promise<void> {
    return this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isFinished || this.#isDisposed) return;
    this.#isDisposed = true;
    await this.#file.close();
    try {
      await unlink(this.#temporaryPath);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw outputError(this.#options.path, error);
    }
  }

  /** Pieces come in any order, so the file is read once more: from memory, mostly. */
  async #assertDigest(digest: FileDigest): Promise<void> {
    const hash = createFileHash(digest);
    const buffer = Buffer.allocUnsafe(READ_LENGTH);
    for (let offset = 0; ;) {
      const { bytesRead } = await orOutputError(
        this.#options.path,
        this.#file.read(buffer, 0, buffer.length, offset),
      );
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
    hash.assertMatches();
  }
}

/** Writes all of `bytes`, which one system call need not do. */
export async function writeAll(file: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.byteLength;) {
    const { bytesWritten } = await file.write(
      bytes,
      written,
      bytes.byteLength - written,
      offset + written,
    );
    written += bytesWritten;
  }
}

/** 1 MiB: large enough that the calls do not count, small enough to stay in the processor's cache. */
const READ_LENGTH = 1024 * 1024;

/** Gives the file its name, and only that one. Fails with EEXIST rather than replace anything. */
async function linkWithoutClobbering(temporaryPath: string, path: string): Promise<void> {
  try {
    await link(temporaryPath, path);
  } catch (error) {
    if (!WITHOUT_LINKS.has(systemErrorCode(error) ?? "")) throw error;
    // FAT and some network file systems: take the name with an empty file, then replace that.
    await (await open(path, "wx")).close();
    await rename(temporaryPath, path);
    return;
  }
  await unlink(temporaryPath);
}

const WITHOUT_LINKS: ReadonlySet<string> = new Set([
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "EMLINK",
]);

/** Asks before the download rather than fail at its end. Only a hint: others write too. */
async function assertSpace(directory: string, length: number): Promise<void> {
  const { bavail, bsize } = await orOutputError(directory, statfs(directory));
  const available = bavail * bsize;
  if (available < length) {
    throw new DfgetError(
      "ERR_NO_SPACE",
      `Cannot write to ${directory}: the file has ${length} bytes, ${available} are free`,
    );
  }
}

async function orOutputError<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw outputError(path, error);
  }
}

function outputError(path: string, error: unknown): unknown {
  if (systemErrorCode(error) !== "EEXIST") return systemFailure(`write to ${path}`, error);
  return new DfgetError(
    "ERR_OUTPUT",
    `Cannot write to ${path}: something with that name appeared meanwhile`,
    { cause: error },
  );
}
