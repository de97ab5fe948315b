import { finished, type Writable } from "node:stream";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { createFileHash, type FileHash } from "./file-hash.ts";
import type { FileDigest } from "./options.ts";
import type { PieceSink } from "./piece-sink.ts";
import { SpillFile } from "./spill-file.ts";

/**
 * Writes pieces to a stream strictly in order, as fast as its reader takes them. Pieces that are early wait in memory, up to
 * `bufferLengthMax` bytes; what is more waits in a temporary file.
 */
export function createOrderedOutput(options: {
  readonly target: Writable;
  readonly digest: FileDigest | undefined;
  /** Opens the temporary file, when it is needed; it is closed here. */
  readonly openSpillFile: () => Promise<SpillFile>;
  /** Ends the waiting for a reader that takes nothing. */
  readonly signal: AbortSignal;
  /** Bytes; 64 MiB by default. */
  readonly bufferLengthMax?: number;
}): PieceSink {
  return new OrderedOutput(options);
}

class OrderedOutput implements PieceSink {
  readonly #target: Writable;
  readonly #openSpillFile: () => Promise<SpillFile>;
  readonly #bufferLengthMax: number;
  readonly #hash: FileHash | undefined;
  /** By offset. Those in the file have there the offset that they have in the output. */
  readonly #early = new Map<
    number,
    { readonly length: number; readonly place: Uint8Array | SpillFile }
  >();
  readonly #signal: AbortSignal;
  readonly #stopWatching: () => void;
  readonly #onAbort = (): void => this.#wake?.();
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  #position = 0;
  #bufferedLength = 0;
  #spillFile: SpillFile | undefined;

  constructor(options: {
    readonly target: Writable;
    readonly digest: FileDigest | undefined;
    readonly openSpillFile: () => Promise<SpillFile>;
    readonly signal: AbortSignal;
    readonly bufferLengthMax?: number;
  }) {
    this.#target = options.target;
    this.#openSpillFile = options.openSpillFile;
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
      const { place, length } = next;
      if (place instanceof SpillFile) await this.#passSpilled(place, length);
      else {
        this.#bufferedLength -= length;
        await this.#pass(place);
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
    await file?.[Symbol.asyncDispose]();
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
      this.#early.set(offset, { length: bytes.byteLength, place: bytes });
      return;
    }
    this.#spillFile ??= await this.#openSpillFile();
    await this.#spillFile.write(offset, bytes);
    this.#early.set(offset, { length: bytes.byteLength, place: this.#spillFile });
  }

  async #passSpilled(file: SpillFile, length: number): Promise<void> {
    const end = this.#position + length;
    while (this.#position < end) {
      // A new buffer each time: the stream keeps it until the reader has taken it.
      await this.#pass(
        await file.read(this.#position, Math.min(READ_LENGTH, end - this.#position)),
      );
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
