import { dirname } from "node:path";

import { StorageError, systemCode } from "./errors.ts";
import { createFile, makeDirectories, makeDirectory, readStart } from "./file-io.ts";
import type { FileStat, FileSystem } from "./file-system.ts";
import { lstatIfThere } from "./fingerprint.ts";
import type { Logger } from "./logger.ts";
import type { Paths } from "./paths.ts";
import { Serial } from "./serial.ts";

/**
 * The directories of a storage and the hold on them. They may vanish while the storage is open: the disk is unmounted, or somebody removes
 * them. Removed ones are made anew; while the disk is gone, everything fails with one sentence, and goes on when it is back.
 */
export class Layout implements AsyncDisposable {
  readonly #files: FileSystem;
  readonly #paths: Paths;
  readonly #logger: Logger;
  readonly #serial = new Serial();
  #lock: AsyncDisposable | undefined;
  /** That the storage is on: when another one shows in its place, the disk is not mounted. */
  #device: bigint | undefined;

  constructor(options: {
    readonly fileSystem: FileSystem;
    readonly paths: Paths;
    readonly logger: Logger;
  }) {
    this.#files = options.fileSystem;
    this.#paths = options.paths;
    this.#logger = options.logger;
  }

  /**
   * Makes what is missing, and holds it.
   *
   * @throws {StorageError} `ERR_STORAGE_LOCKED`, `ERR_STORAGE_VERSION` before anything is touched
   * @throws what the file system throws
   */
  async open(): Promise<void> {
    await makeDirectories(this.#files, dirname(this.#paths.root));
    await this.#make();
    this.#device = (await this.#files.stat(this.#paths.root)).dev;
  }

  /** @throws {StorageError} while the storage has vanished */
  async assertPresent(): Promise<void> {
    if (await this.#isThere()) return;
    await this.#restore();
  }

  /** What `action` comes to, where its directories were removed and are made anew for it. @throws {StorageError} while they have vanished */
  async retry<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      await this.#restore();
      return await action();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock?.[Symbol.asyncDispose]();
  }

  #isThere(): Promise<boolean> {
    return lstatIfThere(this.#files, this.#paths.format).then((stat) => stat?.isFile() === true);
  }

  /** One after the other: who comes second finds everything there. */
  #restore(): Promise<void> {
    return this.#serial.run(async () => {
      if (!(await this.#isThere())) {
        const { root } = this.#paths;
        const there = (await lstatIfThere(this.#files, root)) ?? (await this.#statParent());
        if (there.dev !== this.#device) throw vanished(root);
        this.#logger.warn({ path: root }, "storage directory was removed: making it anew");
        await this.#lock?.[Symbol.asyncDispose]();
        this.#lock = undefined;
      }
      await this.#make();
    });
  }

  async #statParent(): Promise<FileStat> {
    const { root } = this.#paths;
    return await this.#files.stat(dirname(root)).catch((error: unknown) => {
      throw vanished(root, error);
    });
  }

  async #make(): Promise<void> {
    const files = this.#files;
    const { root, content, spool, outputs, lock } = this.#paths;
    await makeDirectory(files, root, 0o700);
    // Whether or not it was there: whoever made it may have been killed, or failed, before this.
    await files.syncDirectory(dirname(root));
    const isFormatted = await this.#checkFormat();
    this.#lock ??= await files.lock(lock);
    if (!isFormatted) await this.#writeFormat();
    for (const path of [content, spool, outputs]) await makeDirectory(files, path);
    await files.syncDirectory(root);
    // Of those made by a process that was killed, too.
    await files.syncDirectory(content);
  }

  /** False: there is no format yet. @throws {StorageError} `ERR_STORAGE_VERSION` */
  async #checkFormat(): Promise<boolean> {
    const { root, format } = this.#paths;
    let text: string;
    try {
      text = (await readStart(this.#files, format, FORMAT_LENGTH_MAX)).toString();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return false;
      throw error;
    }
    if (text === FORMAT) return true;
    if (text === "" || /^\0*$/.test(text)) return false; // A power failure at the first start of all.
    throw new StorageError(
      "ERR_STORAGE_VERSION",
      `Cannot open storage ${root}: its format is ${JSON.stringify(text.slice(0, 40))}, expected ${JSON.stringify(FORMAT)}`,
    );
  }

  async #writeFormat(): Promise<void> {
    const { format, formatNew } = this.#paths;
    const bytes = Buffer.from(FORMAT);
    await createFile(this.#files, formatNew, { bytes, mode: 0o666, replace: true, sync: true });
    await this.#files.rename(formatNew, format);
  }
}

function vanished(root: string, cause?: unknown): StorageError {
  return new StorageError(
    "ERR_IO",
    `Cannot use storage ${root}: it has vanished, and will be used again when it is back`,
    { cause },
  );
}

const FORMAT = "damselfly-storage 1\n";
const FORMAT_LENGTH_MAX = 256;
