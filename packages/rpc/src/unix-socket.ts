import { lstat, mkdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { ServeError } from "./serve-error.ts";

/**
 * Makes a path free for a socket: creates its directory and removes a socket that a dead process left there.
 *
 * @throws {ServeError} `ERR_ADDRESS_IN_USE` when somebody answers there, `ERR_LISTEN_FAILED` when something else than
 *   a socket has that name
 */
export async function prepareSocketPath(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const stats = await lstat(path).catch(ignoreMissing);
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new ServeError(
      "ERR_LISTEN_FAILED",
      `Cannot serve at ${path}: it exists and is no socket`,
    );
  }
  if (await answers(path)) {
    throw new ServeError(
      "ERR_ADDRESS_IN_USE",
      `Cannot serve at ${path}: another process is serving there`,
    );
  }
  await unlink(path).catch(ignoreMissing);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: nobody listens. Anything else (no permission, a full backlog): somebody may.
    socket.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
