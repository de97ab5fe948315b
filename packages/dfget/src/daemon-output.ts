import { createReadStream, lstatSync, type Stats } from "node:fs";
import { lstat, rm, stat } from "node:fs/promises";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { createFileHash } from "./file-hash.ts";
import type { FileDigest } from "./options.ts";

/**
 * An output that the daemon writes. Ours makes it appear complete or not at all, and says so: what is there without its saying that it is
 * done is somebody else's. Dragonfly's links the file to it before the first byte is there, leaves it so when the download fails, and
 * does not check the digest of a file that it replaces: what it leaves undone is done here.
 */
export interface DaemonOutput {
  /** The daemon has begun: what is at the path now, and was not before, is the daemon's, unless it is one whose outputs appear complete. */
  started(daemon: { readonly atomicOutput: boolean }): void;
  /**
   * The daemon is done.
   *
   * @throws {DfgetError} `ERR_INCOMPLETE` if the file is not there, `ERR_DIGEST_MISMATCH`
   */
  assertDelivered(length: number): Promise<void>;
  /** Removes what the daemon began with; never a file that was there before, or that somebody else has put there since. */
  discard(): Promise<void>;
}

/** To be called before the daemon is asked. */
export async function watchDaemonOutput(
  path: string,
  digest: FileDigest | undefined,
): Promise<DaemonOutput> {
  const replaces = (await lstat(path).catch(() => undefined)) !== undefined;
  let begun: Stats | undefined;
  return {
    started({ atomicOutput }) {
      if (!replaces && !atomicOutput) begun = lstatSync(path, { throwIfNoEntry: false });
    },
    async assertDelivered(length) {
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile() !== true || found.size !== length) {
        // A daemon in a container, say, has written to another file system than ours.
        throw new DfgetError(
          "ERR_INCOMPLETE",
          `Cannot find the file: the daemon says that it has written ${length} bytes to ${path}, ` +
            `${found === undefined ? "nothing is" : `${found.size} bytes are`} there; if it sees other directories, use --transfer-from-dfdaemon`,
        );
      }
      if (!replaces || digest === undefined) return;
      const hash = createFileHash(digest);
      for await (const bytes of createReadStream(path)) hash.update(bytes);
      try {
        hash.assertMatches();
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    },
    async discard() {
      if (begun === undefined) return;
      try {
        const found = await lstat(path);
        if (found.ino === begun.ino && found.dev === begun.dev) await rm(path);
      } catch (error) {
        if (systemErrorCode(error) !== "ENOENT") throw error;
      }
    },
  };
}
