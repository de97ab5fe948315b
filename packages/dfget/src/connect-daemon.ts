import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { type DaemonCommand, ensureOwnDaemon, locateOwnDaemon } from "./own-daemon.ts";
import { NOBODY_THERE, probeSocket } from "./probe-socket.ts";

/** A daemon that answers. */
export interface FoundDaemon {
  readonly socketPath: string;
  /** Whom its socket belongs to: the daemon's user, unless it has given the socket away. */
  readonly socketUid: number;
  /** What to tell the user about it, if anything. */
  readonly note: string | undefined;
}

export interface FindDaemonOptions {
  /** As given with `-e`; undefined: the node's daemon, or one of the user's own. */
  readonly endpoint: string | undefined;
  /** Where the node's daemon is looked for; `locateDefaultEndpoint` knows. */
  readonly defaultEndpoint: string;
  readonly startDaemon: boolean;
  /** Absent: the installed dfdaemon. */
  readonly command: DaemonCommand | undefined;
  readonly logLevel: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  readonly pid: number;
  readonly cwd: string;
  readonly signal: AbortSignal;
}

/**
 * Finds the daemon to ask, and starts one of the user's own when the node has none and the user named none.
 *
 * @throws {DfgetError} `ERR_DAEMON_UNREACHABLE`, or the signal's reason
 */
export async function findDaemon(options: FindDaemonOptions): Promise<FoundDaemon> {
  const { endpoint, defaultEndpoint, startDaemon } = options;
  const socketPath = endpoint === undefined ? defaultEndpoint : resolve(options.cwd, endpoint);
  const code = await probeSocket(socketPath);
  if (code === undefined)
    return { socketPath, socketUid: await ownerOf(socketPath), note: undefined };
  if (endpoint !== undefined || !NOBODY_THERE.has(code)) throw unreachable(socketPath, code);

  if (!startDaemon) throw unreachable(socketPath, code, "; with --no-start, none is started");
  const place = await locateOwnDaemon(options.env, options.uid);
  const command = options.command ?? (await resolveDaemonCommand());
  const { pid } = await ensureOwnDaemon(place, { ...options, command });
  const note =
    pid === undefined
      ? undefined
      : `No dfdaemon at ${socketPath}: started one of your own (process ${pid}, data and log in ${place.directory})`;
  return { socketPath: place.socketPath, socketUid: await ownerOf(place.socketPath), note };
}

/** Where Dragonfly's daemon and ours listen when nobody says otherwise. */
export function locateDefaultEndpoint(
  platform: string,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (platform === "darwin" && env["HOME"] !== undefined)
    return join(env["HOME"], ".dragonfly", "dfdaemon.sock");
  return "/var/run/dragonfly/dfdaemon.sock";
}

async function ownerOf(socketPath: string): Promise<number> {
  try {
    return (await stat(socketPath)).uid;
  } catch (error) {
    throw unreachable(socketPath, systemErrorCode(error) ?? "unknown error");
  }
}

/** The executable of the installed package, found without loading any of it. */
export async function resolveDaemonCommand(): Promise<DaemonCommand> {
  const packagePath = createRequire(import.meta.url).resolve("@damselfly/dfdaemon/package.json");
  const manifest: { readonly bin: { readonly dfdaemon: string } } = JSON.parse(
    await readFile(packagePath, "utf8"),
  );
  return [process.execPath, join(dirname(packagePath), manifest.bin.dfdaemon)];
}

function unreachable(socketPath: string, code: string, more = ""): DfgetError {
  const reason =
    code === "EACCES"
      ? "permission denied: expected membership in the socket's group, or another daemon with -e"
      : (REASONS.get(code) ?? code);
  return new DfgetError(
    "ERR_DAEMON_UNREACHABLE",
    `Cannot reach a dfdaemon at ${socketPath}: ${reason}${more}`,
  );
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "there is no such socket (ENOENT)"],
  ["ECONNREFUSED", "nobody listens there (ECONNREFUSED)"],
  ["ENOTSOCK", "it is not a socket (ENOTSOCK)"],
  ["EINVAL", "the path is too long for a socket (EINVAL)"],
]);
