import { makeDirectory } from "./file-io.ts";
import type { FileSystem } from "./file-system.ts";

/**
 * The directories below one, each made when it is first needed. Their names are synced together, when something in them is to survive a
 * power failure: a sync a task is what a seal costs anyway, one more when it is created would keep its first piece waiting.
 */
export class NewDirectories {
  readonly #files: FileSystem;
  readonly #parent: string;
  #madeCount = 0;
  #syncedCount = 0;

  /** @param parent it is there, and its names are synced */
  constructor(files: FileSystem, parent: string) {
    this.#files = files;
    this.#parent = parent;
  }

  /** Not the parent: if that has vanished, it is an error. @throws what the file system throws */
  async make(path: string): Promise<void> {
    if (await makeDirectory(this.#files, path)) this.#madeCount += 1;
  }

  /** Those made so far survive a power failure. @throws what the file system throws */
  async sync(): Promise<void> {
    const madeCount = this.#madeCount;
    if (madeCount === this.#syncedCount) return;
    await this.#files.syncDirectory(this.#parent);
    this.#syncedCount = Math.max(this.#syncedCount, madeCount);
  }
}
