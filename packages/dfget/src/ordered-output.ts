import { randomBytes } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { finished, type Writable } from "node:stream";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { createFileHash, type FileHash } from "./file-hash.ts";
import type { FileDigest } from "./options.ts";
import { writeAll } from "./output-file.ts";
import type { PieceSink } from "./piece-sink.ts";

/**
 * Writes pieces to a stream strictly in order, as fast as its reader takes them. Pieces that are early wait in memory, up to
 * `bufferLengthMax` bytes; what is more waits in a temporary file that has no name, so nothing can leave it behind.
 */
export function createOrderedOutput(options: {
  readonly target: Writable;
  readonly digest: FileDigest | undefined;
  /** Where the temporary file is made. */
  readonly temporaryDirectory: string;
  /** Ends the waiting for a reader that takes nothing. */
  readonly signal: AbortSignal;
  /** Bytes; 64 MiB by default. */
  readonly bufferLengthMax?: number;
}): PieceSink {
  return new OrderedOutput(options);
}

class OrderedOutput implements PieceSink {
  readonly #target: Writable;
  readonly #temporaryDirectory: string;
  readonly #bufferLengthMax: number;
  readonly #hash: FileHash | undefined;
  /** By offset. `bytes` undefined: they wait in the file, at the offset they have in the output. */
  readonly #early = new Map<
    number,
    { readonly length: number; readonly bytes: Uint8Array | undefined }
  >();
  readonly #signal: AbortSignal;
  readonly #stopWatching: () => void;
  readonly #onAbort = (): void => this.#wake?.();
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  #position = 0;
  #bufferedLength = 0;
  #spillFile: FileHandle | undefined;

  constructor(options: {
    readonly target: Writable;
    readonly digest: FileDigest | undefined;
    readonly temporaryDirectory: string;
    readonly signal: AbortSignal;
    readonly bufferLengthMax?: number;
  }) {
    this.#target = options.target;
    this.#temporaryDirectory = options.temporaryDirectory;
    this.#bufferLengthMax = options.bufferLengthMax ?? BUFFER_LENGTH_MAX;
    this.#hash = options.digest === undefined ? undefined : createFileHash(options.digest);
    this.#signal = options.signal;
    this.#signal.addEventListener("abort", this.#onAbort);
    this.#stopWatching = finished(this.#target, { readable: false }, (error) => {
      this.#failure = error ?? new Error("it was closed");
      this.#wake?.();
    });
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset !== this.#position) {
      await this.#keep(offset, bytes);
      return;
    }
    await this.#pass(bytes);
    for (
      let next = this.#early.get(this.#position);
      next !== undefined;
      next = this.#early.get(this.#position)
    ) {
      this.#early.delete(this.#position);
      if (next.bytes === undefined) await this.#passSpilled(next.length);
      else {
        this.#bufferedLength -= next.length;
        await this.#pass(next.bytes);
      }
    }
  }

  /** The target is left open: it belongs to the caller. */
  async finish(): Promise<void> {
    await this.#wait((done) => void this.#target.write("", done));
    this.#hash?.assertMatches();
  }

  async discard(): Promise<void> {
    if (this.#position > 0) {
      throw new DfgetError(
        "ERR_OUTPUT",
        "Cannot go on: the daemon had to begin anew, for all it knows with another version of the file, and a part of the first is written to standard output already",
      );
    }
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopWatching();
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#early.clear();
    const file = this.#spillFile;
    this.#spillFile = undefined;
    await file?.close();
  }

  /** Resolves when `listen`'s callback is called. A stream that fails and a signal that aborts end the waiting with their reason. */
  async #wait(listen: (done: () => void) => void): Promise<void> {
    this.#assertOpen();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      listen(resolve);
    });
    this.#assertOpen();
  }

  async #keep(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#bufferedLength + bytes.byteLength <= this.#bufferLengthMax) {
      this.#bufferedLength += bytes.byteLength;
      this.#early.set(offset, { length: bytes.byteLength, bytes });
      return;
    }
    this.#spillFile ??= await openNameless(this.#temporaryDirectory);
    await writeAll(this.#spillFile, offset, bytes);
    this.#early.set(offset, { length: bytes.byteLength, bytes: undefined });
  }

  async #passSpilled(length: number): Promise<void> {
    const end = this.#position + length;
    while (this.#position < end) {
      // A new buffer each time: the stream keeps it until the reader has taken it.
      const buffer = Buffer.allocUnsafe(Math.min(READ_LENGTH, end - this.#position));
      const { bytesRead = 0 } =
        (await this.#spillFile?.read(buffer, 0, buffer.length, this.#position)) ?? {};
      if (bytesRead === 0)
        throw new DfgetError(
          "ERR_OUTPUT",
          "Cannot write to standard output: the temporary file was cut short",
        );
      await this.#pass(buffer.subarray(0, bytesRead));
    }
  }

  /** Resolves when the stream wants more, not when the reader has taken these. */
  async #pass(bytes: Uint8Array): Promise<void> {
    this.#hash?.update(bytes);
    this.#position += bytes.byteLength;
    this.#assertOpen();
    if (!this.#target.write(bytes))
      await this.#wait((done) => void this.#target.once("drain", done));
  }

  #assertOpen(): void {
    this.#signal.throwIfAborted();
    if (this.#failure === undefined) return;
    const reason = systemErrorCode(this.#failure) ?? this.#failure.message;
    throw new DfgetError("ERR_OUTPUT", `Cannot write to standard output: ${reason}`, {
      cause: this.#failure,
    });
  }
}

/** One piece of the greatest usual length, or sixteen of the smallest. */
const BUFFER_LENGTH_MAX = 64 * 1024 * 1024;
const READ_LENGTH = 1024 * 1024;

async function openNameless(directory: string): Promise<FileHandle> {
  const path = join(directory, `dfget-${randomBytes(8).toString("hex")}`);
  try {
    const file = await open(path, "wx+", 0o600);
    await unlink(path);
    return file;
  } catch (error) {
    throw new DfgetError(
      "ERR_OUTPUT",
      `Cannot keep early pieces in ${directory}: ${systemErrorCode(error) ?? "unknown error"}`,
      { cause: error },
    );
  }
}
