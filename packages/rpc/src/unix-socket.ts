import { once } from "node:events";
import { chmod, chown, lstat, mkdir, mkdtemp, rename, rm, stat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname, join } from "node:path";
import type { RpcLogger } from "./logger.ts";
import { ServeError } from "./serve-error.ts";

/** Where a unix socket is made, and for whom. */
export interface SocketAddress {
  /** Absolute. Its directory is made if it is missing, for everybody to look into. */
  readonly socketPath: string;
  /** Permission bits: `0o660`. Connecting takes the right to write. */
  readonly mode: number;
  /** User and group that it is given to, by number; absent: this process's. */
  readonly owner?: { readonly uid?: number | undefined; readonly gid?: number | undefined };
}

/** Bytes of a path that the system takes for a socket (`sun_path` less its end); a longer one is cut without a word. */
const PATH_LENGTH_MAX = process.platform === "linux" ? 107 : 103;

/**
 * Has `server` listen on a unix socket. It is made in a directory that is private, given its owner and its mode, and moved to its place
 * then: at no time can anybody connect who may not, and whoever looks finds the socket that was there before or this one.
 *
 * @returns what takes it away again, unless another one has its name by then
 * @throws {ServeError} `ERR_ADDRESS_IN_USE` when somebody answers there, `ERR_OWNER` when it cannot be given away,
 *   `ERR_LISTEN_FAILED` for any other reason
 */
export async function listenOnSocket(
  server: Server,
  { socketPath, mode, owner = {} }: SocketAddress,
  logger?: RpcLogger,
): Promise<() => Promise<void>> {
  assertLength(socketPath, socketPath);
  await prepareSocketPath(socketPath);
  await warnOfOpenDirectory(dirname(socketPath), logger);
  const privateDirectory = await mkdtemp(`${dirname(socketPath)}/.`);
  try {
    const path = join(privateDirectory, "s");
    assertLength(path, socketPath);
    server.listen({ path });
    await once(server, "listening");
    await giveTo(path, owner, socketPath);
    await chmod(path, mode); // after its owner, who may have cost it bits
    const { ino, dev } = await stat(path);
    await rename(path, socketPath);
    return async () => {
      const there = await lstat(socketPath).catch(ignoreMissing);
      if (there?.ino === ino && there.dev === dev) await unlink(socketPath).catch(ignoreMissing);
    };
  } finally {
    await rm(privateDirectory, { recursive: true, force: true });
  }
}

async function giveTo(
  path: string,
  { uid, gid }: NonNullable<SocketAddress["owner"]>,
  socketPath: string,
): Promise<void> {
  if (uid === undefined && gid === undefined) return;
  try {
    await chown(path, uid ?? -1, gid ?? -1);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? cause.code : cause;
    const whom = [
      ...(uid === undefined ? [] : [`user ${uid}`]),
      ...(gid === undefined ? [] : [`group ${gid}`]),
    ].join(" and ");
    throw new ServeError(
      "ERR_OWNER",
      `Cannot serve at ${socketPath}: this process may not give the socket to ${whom} (${String(reason)}); root may, and to a group of its own anybody`,
      { cause },
    );
  }
}

/** Whoever may write a directory may put a socket of their own in the place of ours, and be told what is meant for us. */
async function warnOfOpenDirectory(
  directory: string,
  logger: RpcLogger | undefined,
): Promise<void> {
  const { mode } = await stat(directory);
  const isOpen = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
  if (!isOpen) return;
  const octal = (mode & 0o7777).toString(8).padStart(4, "0");
  logger?.warn(
    { directory, mode: octal },
    `everybody on this machine may put a socket of their own into ${directory} in place of the daemon's: its mode is ${octal}, 0755 would do`,
  );
}

function assertLength(path: string, socketPath: string): void {
  const excess = Buffer.byteLength(path) - PATH_LENGTH_MAX;
  if (excess <= 0) return;
  throw new ServeError(
    "ERR_LISTEN_FAILED",
    `Cannot serve at ${socketPath}: the path of a socket is limited by the system, this one is ${excess} bytes too long`,
  );
}

/**
 * Makes a path free for a socket: creates its directory and removes a socket that a dead process left there.
 *
 * @throws {ServeError} `ERR_ADDRESS_IN_USE` when somebody answers there, `ERR_LISTEN_FAILED` when something else than
 *   a socket has that name
 */
async function prepareSocketPath(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
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
