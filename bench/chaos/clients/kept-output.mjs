// A file that its user keeps, and may have edited: it is his, whatever becomes of the daemon's copy.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";

export class KeptOutput {
  /** Undefined: as it was when it was downloaded, and found right. */
  #sha256;

  constructor(client) {
    const { download, output, directory, versions } = client;
    this.id = download.id;
    this.node = download.node;
    this.file = download.file;
    this.path = output;
    this.directory = directory;
    this.versions = versions;
  }

  get isEdited() {
    return this.#sha256 !== undefined;
  }

  /** @param act - edits the file at a path */
  async edit(act) {
    await act(this.path);
    this.#sha256 = await digestOf(this.path);
  }

  /** @returns what is wrong with it, in words; undefined: nothing */
  async judge() {
    if (this.#sha256 === undefined) return undefined;
    return (await digestOf(this.path)) === this.#sha256
      ? undefined
      : "its user edited it, and it is not as he left it";
  }

  async remove() {
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function digestOf(path) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}
