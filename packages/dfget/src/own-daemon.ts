import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdir, open, stat } from "node:fs/promises";
import { devNull } from "node:os";
import { isAbsolute, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { DfgetError, systemErrorCode } from "./errors.ts";
import { NOBODY_THERE, probeSocket } from "./probe-socket.ts";
import { printable } from "./printable.ts";
import { tryStartLock } from "./start-lock.ts";

/** Where the daemon of one user lives. */
export interface OwnDaemonPlace {
  /** Holds the daemon's data, its log, and what only this user may see. */
  readonly directory: string;
  readonly socketPath: string;
  readonly logPath: string;
}

/** How a daemon is started: a program, and what comes before the arguments that dfget adds. */
export type DaemonCommand = readonly [program: string, ...args: string[]];

/**
 * Chooses the place by the XDG rules: data below `$XDG_DATA_HOME` or `~/.local/share`, the socket in `$XDG_RUNTIME_DIR` if that is a directory
 * of this user, else with the data. Nothing is created.
 *
 * @throws {DfgetError} `ERR_DAEMON_UNREACHABLE` if there is no place
 */
export async function locateOwnDaemon(
  env: Readonly<Record<string, string | undefined>>,
  uid: number | undefined,
): Promise<OwnDaemonPlace> {
  const home = absolute(env["HOME"]);
  const dataHome =
    absolute(env["XDG_DATA_HOME"]) ??
    (home === undefined ? undefined : join(home, ".local", "share"));
  if (dataHome === undefined)
    throw cannotStart("neither HOME nor XDG_DATA_HOME is set, expected a place for its data");
  const directory = join(dataHome, "damselfly");

  const runtime = absolute(env["XDG_RUNTIME_DIR"]);
  const candidates = [
    ...(runtime !== undefined && (await isOwnDirectory(runtime, uid))
      ? [join(runtime, "damselfly-dfget.sock")]
      : []),
    join(directory, "dfget.sock"),
  ];
  const socketPath = candidates.find((path) => Buffer.byteLength(path) <= SOCKET_PATH_LENGTH_MAX);
  if (socketPath === undefined) {
    throw cannotStart(
      `the path of its socket would be longer than ${SOCKET_PATH_LENGTH_MAX} bytes (${candidates.join(", ")})`,
    );
  }
  return { directory, socketPath, logPath: join(directory, "dfget-daemon.log") };
}

export interface EnsureOptions {
  readonly command: DaemonCommand;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logLevel: string;
  /** Of this process, for the lock. */
  readonly pid: number;
  readonly signal: AbortSignal;
  /** Milliseconds; 30 s by default. */
  readonly startTimeoutMs?: number;
}

/**
 * Makes sure that the user's own daemon answers at its socket, starting it if need be. Several at once end up with one: whoever
 * gets the lock starts it, the others wait. The daemon outlives dfget, and ends by itself when it has been idle.
 *
 * `pid` is undefined if it was there already. Aborting leaves a daemon that is starting alone.
 *
 * @throws {DfgetError} `ERR_DAEMON_UNREACHABLE` with the last lines of its log, or the signal's reason
 */
export async function ensureOwnDaemon(
  place: OwnDaemonPlace,
  options: EnsureOptions,
): Promise<{ readonly pid: number | undefined }> {
  if (await isUp(place)) return { pid: undefined };
  try {
    return { pid: await startUnlessOthersDo(place, options) };
  } catch (error) {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    throw cannotStart(`${place.directory} cannot be used (${systemErrorCode(error)})`, error);
  }
}

async function startUnlessOthersDo(
  place: OwnDaemonPlace,
  options: EnsureOptions,
): Promise<number | undefined> {
  const { signal } = options;
  const deadline = Date.now() + (options.startTimeoutMs ?? START_TIMEOUT_MS);
  await mkdir(place.directory, { recursive: true, mode: 0o700 });
  await chmod(place.directory, 0o700);
  while (Date.now() < deadline) {
    await using lock = await tryStartLock(join(place.directory, "dfget-start.lock"), options.pid);
    if (await isUp(place)) return undefined;
    if (lock !== undefined) return await startOwnDaemon(place, { ...options, deadline });
    await pause(POLL_MS, signal);
  }
  throw cannotStart(`another dfget has been starting it for too long; its log is ${place.logPath}`);
}

/** @throws the signal's reason */
async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await delay(durationMs, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** Tries twice: a daemon that is just ending still holds the storage. Returns the process id, or undefined if another one took over. */
async function startOwnDaemon(
  place: OwnDaemonPlace,
  options: EnsureOptions & { readonly deadline: number },
): Promise<number | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    await using log = await openLog(place.logPath);
    const child = spawnDaemon(place, options, log.fd);
    const ended = waitForEnd(child);
    const outcome = await waitUntilUp(place, ended, options);
    if (outcome === "up") return child.exitCode === null ? child.pid : undefined;
    if (outcome === "late") child.kill();
    if (outcome === "late" || attempt === 2) {
      const reason = outcome === "late" ? "it does not answer at its socket" : await ended;
      throw cannotStart(
        `${reason}. The end of its log, ${place.logPath}:\n${await log.readTail()}`,
      );
    }
    await pause(RETRY_MS, options.signal);
  }
}

function spawnDaemon(place: OwnDaemonPlace, options: EnsureOptions, logFd: number): ChildProcess {
  const [program, ...args] = options.command;
  const child = spawn(program, [...args, ...formatDaemonArguments(place, options)], {
    cwd: place.directory,
    detached: true,
    env: options.env,
    stdio: ["ignore", logFd, logFd],
  });
  child.unref();
  return child;
}

/**
 * Loopback and free ports only, so that it disturbs nobody and nobody reaches it. The node's config file is not meant for it, and
 * may name keys that this user cannot read; one in `$DFDAEMON_CONFIG` is.
 */
function formatDaemonArguments(place: OwnDaemonPlace, { env, logLevel }: EnsureOptions): string[] {
  const settings = {
    "download.server.socketMode": "0600",
    "host.ip": LOOPBACK,
    "upload.server.ip": LOOPBACK,
    "upload.server.port": "0",
    "storage.server.ip": LOOPBACK,
    "storage.server.grpcPort": "0",
    "storage.server.tcpPort": "0",
    "storage.server.quic.port": "0",
    "storage.server.quic.quinnPort": "0",
    "health.server.ip": LOOPBACK,
    "health.server.port": "0",
    "metrics.server.ip": LOOPBACK,
    "metrics.server.port": "0",
    "stats.server.ip": LOOPBACK,
    "stats.server.port": "0",
    // A user's own disk may well be fuller than a node's: the cache is not given up for that alone.
    "gc.policy.diskHighThresholdPercent": "95",
    "gc.policy.diskLowThresholdPercent": "90",
    idleExit: IDLE_EXIT,
  };
  return [
    ...((env["DFDAEMON_CONFIG"] ?? "") === "" ? ["--config", devNull] : []),
    "--socket",
    place.socketPath,
    "--storage-dir",
    place.directory,
    "--console",
    "--log-level",
    logLevel,
    ...Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]),
  ];
}

const LOOPBACK = "127.0.0.1";
/** Long enough for the next command of somebody who is working, short enough not to linger. */
const IDLE_EXIT = "5m";

/** Resolves with a sentence, never rejects. */
function waitForEnd(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) =>
      resolve(`it could not be started (${systemErrorCode(error) ?? error.message})`),
    );
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`),
    );
  });
}

async function waitUntilUp(
  place: OwnDaemonPlace,
  ended: Promise<string>,
  { signal, deadline }: { readonly signal: AbortSignal; readonly deadline: number },
): Promise<"up" | "ended" | "late"> {
  let hasEnded = false;
  void ended.then(() => (hasEnded = true));
  while (Date.now() < deadline) {
    signal.throwIfAborted();
    const endedBefore = hasEnded;
    if (await isUp(place)) return "up";
    if (endedBefore) return "ended";
    await pause(POLL_MS, signal);
  }
  return "late";
}

async function isUp({ socketPath }: OwnDaemonPlace): Promise<boolean> {
  const code = await probeSocket(socketPath);
  if (code === undefined) return true;
  if (NOBODY_THERE.has(code)) return false;
  throw new DfgetError(
    "ERR_DAEMON_UNREACHABLE",
    `Cannot reach your own dfdaemon at ${socketPath}: ${code}`,
  );
}

/** What one run of the daemon writes, so that an older failure is not shown for this one. */
async function openLog(
  path: string,
): Promise<AsyncDisposable & { readonly fd: number; readTail(): Promise<string> }> {
  let file = await open(path, "a+", 0o600);
  let { size: start } = await file.stat();
  if (start > LOG_LENGTH_MAX) {
    await file.close();
    file = await open(path, "w+", 0o600);
    start = 0;
  }
  return {
    fd: file.fd,
    async readTail() {
      const { size } = await file.stat();
      const from = Math.max(start, size - TAIL_LENGTH_MAX);
      const { buffer, bytesRead } = await file.read(
        Buffer.alloc(size - from),
        0,
        size - from,
        from,
      );
      const lines = buffer.toString("utf8", 0, bytesRead).trimEnd().split("\n");
      return lines
        .slice(-TAIL_LINES_MAX)
        .map((line) => `    ${printable(line)}`)
        .join("\n");
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function isOwnDirectory(path: string, uid: number | undefined): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isDirectory() && (uid === undefined || found.uid === uid);
  } catch {
    // Named, but not there: as good as not named.
    return false;
  }
}

function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}

function cannotStart(reason: string, cause?: unknown): DfgetError {
  return new DfgetError("ERR_DAEMON_UNREACHABLE", `Cannot start a dfdaemon: ${reason}`, { cause });
}

const START_TIMEOUT_MS = 30_000;
/** A daemon needs some hundred milliseconds to start; a probe costs well below one. */
const POLL_MS = 25;
const RETRY_MS = 500;
/** The kernel's limit is 108 bytes on Linux and 104 elsewhere, with a zero at the end. */
const SOCKET_PATH_LENGTH_MAX = 103;
const LOG_LENGTH_MAX = 16 * 1024 * 1024;
const TAIL_LENGTH_MAX = 16 * 1024;
const TAIL_LINES_MAX = 12;
