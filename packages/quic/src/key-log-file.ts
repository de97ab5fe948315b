import { closeSync, constants, fchmodSync, fstatSync, openSync } from "node:fs";
import { userInfo } from "node:os";
import type { QuicLogger } from "./quic.ts";

/** For its owner alone: whoever reads it can read all that was sent. */
const MODE = 0o600;

/**
 * Makes the file that TLS secrets are to be appended to fit for it, and says loudly that they will be. One that cannot be kept
 * from others gets none.
 *
 * @returns the path; undefined: nothing is logged
 */
export function prepareKeyLog(
  path: string | undefined,
  logger: QuicLogger | undefined,
): string | undefined {
  if (path === undefined) return undefined;
  try {
    // Not through a link that somebody else has put there.
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
    const file = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, MODE);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error("it is no file");
      if (stat.uid !== userInfo().uid) throw new Error("it belongs to somebody else");
      fchmodSync(file, MODE);
    } finally {
      closeSync(file);
    }
    logger?.warn(
      { keyLogPath: path },
      `The TLS secrets of QUIC are written to ${path}: whoever reads this file can read all that is sent over QUIC`,
    );
    return path;
  } catch (error) {
    logger?.warn(
      { err: error, keyLogPath: path },
      `The TLS secrets of QUIC are not written to ${path}: it cannot be kept for its owner alone`,
    );
    return undefined;
  }
}
