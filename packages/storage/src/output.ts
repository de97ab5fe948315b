import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { StorageContext } from "./context.ts";
import { ContentWriter } from "./content-writer.ts";
import { createDigester, type Digester, parseDigest } from "./digester.ts";
import { StorageError, systemCode, toStorageError } from "./errors.ts";
import { createFile, removeIfThere } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";
import { lstatIfThere } from "./fingerprint.ts";
import { outputTemporaryName } from "./paths.ts";
import { assertRange, type ByteRange } from "./read-content.ts";
import type { OutputMethod, OutputOptions, PieceRecord } from "./storage.ts";
import type { TaskContent } from "./task-content.ts";

/** What an output is made from. */
export interface OutputSource {
  readonly content: TaskContent;
  /** Bytes in the whole file. */
  readonly length: number;
  /** As `StoredTask.pieces` has them. */
  readonly pieces: ReadonlyMap<number, PieceRecord>;
  /** Numbers of the pieces that have any of these bytes. */
  piecesOf(range: ByteRange): Iterable<number>;
  digest(algorithm: string, options?: { readonly sinceMs?: number }): Promise<string>;
  read(range?: ByteRange): AsyncIterable<Uint8Array>;
  /** As `StoredTask.seal` would find it: checked, and every piece there. */
  assertReadable(): Promise<void>;
}

/** As `StoredTask.output` has it. */
export async function placeOutput(
  source: OutputSource,
  path: string,
  options: OutputOptions & { readonly context: StorageContext },
): Promise<OutputMethod> {
  const { range, digest, sinceMs, signal } = options;
  if (range !== undefined) assertRange(range, source.length);
  await assertDirectory(options.context.fileSystem, path);
  const placing = new Placing(source, path, options);
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (range === undefined) await source.assertReadable();
      const basis = basisOf(source, range ?? { offset: 0, length: source.length });
      if (range === undefined && digest !== undefined)
        await assertDigest(source, digest, { path, ...(sinceMs !== undefined && { sinceMs }) });
      signal?.throwIfAborted();
      const method = await (range === undefined ? placing.placeWhole(basis) : placing.copy(basis));
      if (method !== undefined) return method;
    }
  } catch (error) {
    throw placing.translate(error);
  }
}

/** As `StoredTask.assertOutput` has it. */
export async function assertPlaceable(
  source: OutputSource,
  path: string,
  options: OutputOptions & { readonly context: StorageContext },
): Promise<void> {
  await assertDirectory(options.context.fileSystem, path);
  const placing = new Placing(source, path, options);
  try {
    await options.context.fileSystem.access(dirname(path), constants.W_OK);
    await placing.assertPlaceable();
  } catch (error) {
    throw placing.translate(error);
  }
}

/** What an output is made of, as it was believed when that began. */
interface Basis {
  readonly range: ByteRange;
  /** Whether it is the file of which the content was trusted then. */
  isSameFile(): boolean;
  /** Whether its pieces are those that were there then: what was copied of one that has been withdrawn since may be anything. */
  hasSamePieces(): boolean;
}

function basisOf(source: OutputSource, range: ByteRange): Basis {
  const { epoch } = source.content;
  const pieces = Array.from(
    source.piecesOf(range),
    (number) => [number, source.pieces.get(number)] as const,
  );
  return {
    range,
    isSameFile: () => source.content.epoch === epoch,
    hasSamePieces: () => pieces.every(([number, piece]) => source.pieces.get(number) === piece),
  };
}

/** One output on its way to its place. What is undefined in the end has not got there: the content changed meanwhile, try again. */
class Placing {
  readonly #source: OutputSource;
  readonly #path: string;
  readonly #options: OutputOptions & { readonly context: StorageContext };

  constructor(
    source: OutputSource,
    path: string,
    options: OutputOptions & { readonly context: StorageContext },
  ) {
    this.#source = source;
    this.#path = path;
    this.#options = options;
  }

  get #files(): FileSystem {
    return this.#options.context.fileSystem;
  }

  async placeWhole(basis: Basis): Promise<OutputMethod | undefined> {
    if (await this.#isThere()) return basis.hasSamePieces() ? "already-there" : undefined;
    if (this.#options.forceHardLink !== true) {
      const cloned = await this.#clone(basis);
      if (cloned !== "impossible") return cloned;
    }
    const linked = await this.#link(basis);
    if (linked !== "impossible") return linked;
    return await this.copy(basis);
  }

  /** Throws what is in the way now; hard links between places of one device may turn out impossible all the same. */
  async assertPlaceable(): Promise<void> {
    const { range, forceHardLink, context } = this.#options;
    if (range !== undefined) return await this.#assertFree();
    if (await this.#isThere()) return;
    if (forceHardLink !== true) return;
    const [own, there] = await Promise.all([
      deviceOf(this.#files, context.paths.content),
      deviceOf(this.#files, dirname(this.#path)),
    ]);
    if (own.device !== there.device) throw linkImpossible(this.#path, "EXDEV");
  }

  async copy(basis: Basis): Promise<OutputMethod | undefined> {
    const { range } = basis;
    if (range.length < this.#source.length) await this.#assertFree();
    const { digest, context, signal } = this.#options;
    const expected = digest === undefined ? undefined : parseDigest(digest);
    return await this.#withTemporary(async (temporary) => {
      const handle = await this.#files.open(temporary, NEW_OUTPUT_FLAGS, OUTPUT_MODE);
      const digester = expected && createDigester(expected.algorithm);
      try {
        const pool = context.writeBuffers;
        const action = `write output ${this.#path}`;
        await using writer = new ContentWriter({ handle, pool, position: 0, action });
        for await (const chunk of this.#source.read(range)) {
          signal?.throwIfAborted();
          digester?.update(chunk);
          await writer.write(chunk);
        }
        await writer.flush();
      } finally {
        await handle.close();
      }
      if (!basis.hasSamePieces()) return undefined;
      if (digester !== undefined && expected !== undefined) {
        assertSameDigest(digester, expected.text, this.#path);
      }
      signal?.throwIfAborted();
      return (await this.#moveInto(temporary, basis)) ? "copy" : undefined;
    });
  }

  translate(error: unknown): unknown {
    // The rest are StorageErrors already, abort reasons and the like.
    if (!isSystemError(error)) return error;
    const { code } = error;
    if (code === "EEXIST" || code === "EISDIR") return this.#exists("it exists already", error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES" || code === "EPERM") {
      return directoryError(this.#path, "its directory is gone or not writable", error);
    }
    return toStorageError(`write output ${this.#path}`, error);
  }

  async #clone(basis: Basis): Promise<OutputMethod | "impossible" | undefined> {
    const { device } = await deviceOf(this.#files, dirname(this.#path));
    const { withoutClones } = this.#options.context;
    if (withoutClones.has(device)) return "impossible";
    return await this.#withTemporary(async (temporary) => {
      try {
        await this.#files.clone(this.#source.content.path, temporary);
      } catch (error) {
        if (!CLONE_IMPOSSIBLE.has(systemCode(error) ?? "")) throw error;
        // EXDEV says nothing about other pairs of places.
        if (systemCode(error) !== "EXDEV") withoutClones.add(device);
        return "impossible";
      }
      // What was cloned is what was trusted, unless it has changed since.
      await this.#source.assertReadable();
      if (!basis.isSameFile()) return undefined;
      return (await this.#moveInto(temporary, basis)) ? "reflink" : undefined;
    });
  }

  async #link(basis: Basis): Promise<OutputMethod | "impossible" | undefined> {
    const forced = this.#options.forceHardLink === true;
    const linkTo = (temporary?: string): Promise<"linked" | "changed" | "has-links"> =>
      this.#source.content.linkTo(this.#path, {
        isRight: () => basis.isSameFile() && basis.hasSamePieces(),
        sole: !forced,
        ...(temporary !== undefined && { temporary }),
      });
    try {
      const result = await (this.#options.overwrite === true
        ? this.#withTemporary(linkTo)
        : linkTo());
      if (result === "has-links") return "impossible";
      if (result === "changed") return undefined;
    } catch (error) {
      if (!LINK_IMPOSSIBLE.has(systemCode(error) ?? "")) throw error;
      if (!forced) return "impossible";
      throw linkImpossible(this.#path, systemCode(error), error);
    }
    await sleep(CLOCK_TICK_MS);
    return "hardlink";
  }

  /** Whether the output is this very file; throws if something else is in the way. */
  async #isThere(): Promise<boolean> {
    const there = await lstatIfThere(this.#files, this.#path);
    if (there === undefined) return false;
    const own = await lstatIfThere(this.#files, this.#source.content.path);
    if (own !== undefined && own.ino === there.ino && own.dev === there.dev) return true;
    await this.#assertFree();
    return false;
  }

  async #assertFree(): Promise<void> {
    const there = await lstatIfThere(this.#files, this.#path);
    if (there === undefined) return;
    // Renaming over a device or a pipe would remove it.
    if (!there.isFile() && !there.isSymbolicLink()) throw this.#exists("it is no regular file");
    if (this.#options.overwrite !== true) throw this.#exists("it exists already");
  }

  /** Gives the finished file its name, in one step. False: it has none, since its pieces are others by now. */
  async #moveInto(temporary: string, basis: Basis): Promise<boolean> {
    if (this.#options.overwrite === true) return await this.#renameInto(temporary, basis);
    if (!basis.hasSamePieces()) return false;
    try {
      await this.#files.link(temporary, this.#path);
      return true;
    } catch (error) {
      if (!LINK_IMPOSSIBLE.has(systemCode(error) ?? "")) throw error;
      // Without hard links there is no way to name a file that fails if the name is taken: look, then rename.
      return await this.#renameInto(temporary, basis);
    }
  }

  async #renameInto(temporary: string, basis: Basis): Promise<boolean> {
    await this.#assertFree();
    if (!basis.hasSamePieces()) return false;
    await this.#files.rename(temporary, this.#path);
    return true;
  }

  /** A name next to the output, noted in the storage so that the next start removes the file if this process dies. */
  async #withTemporary<T>(action: (temporary: string) => Promise<T>): Promise<T> {
    const random = randomBytes(8).toString("hex");
    const temporary = join(dirname(this.#path), outputTemporaryName(basename(this.#path), random));
    const note = join(this.#options.context.paths.outputs, random);
    const bytes = Buffer.from(temporary);
    const { layout, logger } = this.#options.context;
    const noting = layout.retry(() => createFile(this.#files, note, { bytes, mode: 0o600 }));
    await noting.catch(async (error: unknown) => {
      if (!NOTE_IMPOSSIBLE.has(systemCode(error) ?? ""))
        throw toStorageError(`write output ${this.#path}`, error);
      // A cache that takes nothing more still gives what it has; only a kill in these moments would leave something.
      logger.warn({ err: error }, "output is written without a note: the storage takes none");
      await removeIfThere(this.#files, note).catch(() => undefined); // Made, but not written: no harm.
    });
    try {
      return await action(temporary);
    } finally {
      await removeIfThere(this.#files, temporary);
      await removeIfThere(this.#files, note).catch((error: unknown) => {
        // It names a file that is not there any more: the next start takes it away.
        logger.warn({ err: error }, "note of an output cannot be removed");
      });
    }
  }

  #exists(reason: string, cause?: unknown): StorageError {
    return new StorageError("ERR_OUTPUT_EXISTS", `Cannot write output ${this.#path}: ${reason}`, {
      cause,
    });
  }
}

function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "syscall" in error && systemCode(error) !== undefined;
}

async function assertDirectory(files: FileSystem, path: string): Promise<void> {
  if (!isAbsolute(path)) throw directoryError(path, "the path is not absolute");
  const directory = await deviceOf(files, dirname(path));
  if (!directory.isDirectory) throw directoryError(path, `${dirname(path)} is no directory`);
}

async function deviceOf(
  files: FileSystem,
  path: string,
): Promise<{ readonly device: bigint; readonly isDirectory: boolean }> {
  try {
    const found = await files.stat(path);
    return { device: found.dev, isDirectory: found.isDirectory() };
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") throw directoryError(path, "there is none", error);
    throw directoryError(path, "it cannot be looked at", error);
  }
}

function directoryError(path: string, reason: string, cause?: unknown): StorageError {
  return new StorageError("ERR_OUTPUT_DIRECTORY", `Cannot use output path ${path}: ${reason}`, {
    cause,
  });
}

function linkImpossible(path: string, reason: string | undefined, cause?: unknown): StorageError {
  return new StorageError(
    "ERR_OUTPUT_LINK",
    `Cannot hard-link output ${path}: the file system says ${reason}`,
    { cause },
  );
}

async function assertDigest(
  source: OutputSource,
  wanted: string,
  { path, ...options }: { readonly path: string; readonly sinceMs?: number },
): Promise<void> {
  const expected = parseDigest(wanted);
  const digest = await source.digest(expected.algorithm, options);
  if (digest !== expected.text) throw wrongDigest(path, digest, expected.text);
}

function assertSameDigest(digester: Digester, expected: string, path: string): void {
  const digest = digester.text();
  if (digest !== expected) throw wrongDigest(path, digest, expected);
}

function wrongDigest(path: string, digest: string, expected: string): StorageError {
  return new StorageError(
    "ERR_DIGEST_MISMATCH",
    `Cannot write output ${path}: the content's digest is ${digest}, expected ${expected}`,
  );
}

/** Less the umask, as of a file that the user makes. */
const OUTPUT_MODE = 0o666;
const NEW_OUTPUT_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
/**
 * The coarsest clock that a kernel stamps files with. After this long an edit of the output has a ctime of its own, so stat shows it.
 * (Linux 6.13 and later stamp finer; nothing says so but trying.)
 */
const CLOCK_TICK_MS = 10;
const NOTE_IMPOSSIBLE: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EROFS"]);
const CLONE_IMPOSSIBLE: ReadonlySet<string> = new Set([
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "ENOTTY",
  "EINVAL",
  "EXDEV",
  "EPERM",
]);
const LINK_IMPOSSIBLE: ReadonlySet<string> = new Set([
  "EXDEV",
  "EMLINK",
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
]);
