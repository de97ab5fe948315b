import { systemCode } from "./errors.ts";
import { makeDirectory } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";
import type { Layout } from "./layout.ts";

/**
 * The directories below one, each made when it is first needed. Their names are synced together, when something in them is to survive a
 * power failure: a sync a task is what a seal costs anyway, one more when it is created would keep its first piece waiting.
 */
export class NewDirectories {
  readonly #files: FileSystem;
  readonly #layout: Layout;
  readonly #parent: string;
  #madeCount = 0;
  #syncedCount = 0;

  /** @param options.parent of `layout`, its names synced */
  constructor(options: {
    readonly fileSystem: FileSystem;
    readonly layout: Layout;
    readonly parent: string;
  }) {
    this.#files = options.fileSystem;
    this.#layout = options.layout;
    this.#parent = options.parent;
  }

  /** What `action` comes to in the directory, which is made if it is missing. @throws what the file system throws */
  async within<T>(directory: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      if (await this.#layout.retry(() => makeDirectory(this.#files, directory)))
        this.#madeCount += 1;
      return await action();
    }
  }

  /** Those made so far survive a power failure. @throws what the file system throws */
  async sync(): Promise<void> {
    const madeCount = this.#madeCount;
    if (madeCount === this.#syncedCount) return;
    await this.#files.syncDirectory(this.#parent);
    this.#syncedCount = Math.max(this.#syncedCount, madeCount);
  }
}
