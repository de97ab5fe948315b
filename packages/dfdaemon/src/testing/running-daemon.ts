import { randomInt } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { devNull, tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsIdentity } from "@damselfly/transport";
import { createAuthority, issueCertificate, type Authority } from "../certs/certificates.ts";
import { loadConfig } from "../config/load-config.ts";
import type { Logger } from "../logger.ts";
import { runDaemon, type RunningDaemon } from "../run.ts";

const LOOPBACK = "127.0.0.1";
const PORT_ATTEMPTS_MAX = 100;

/** A daemon that runs in the process of the test, on free ports of the loopback. */
export interface DaemonInTest extends RunningDaemon {
  readonly name: string;
  /** What it has logged: level and message. */
  readonly log: readonly string[];
  /** Stops it gracefully; rejects with what it failed with. */
  stop(): Promise<void>;
  /** Resolves when it has ended by itself. */
  readonly ended: Promise<void>;
}

/** A directory for daemons, and an authority for their certificates. Disposing stops all daemons, last started first. */
export interface DaemonBench extends AsyncDisposable {
  readonly directory: string;
  /** What a node of this name would show. */
  identity(name: string): Promise<TlsIdentity>;
  /**
   * @param settings - over the defaults, dotted paths
   * @throws what `runDaemon` throws when it cannot start
   */
  start(
    name: string,
    settings?: Readonly<Record<string, unknown>>,
    options?: { readonly tls?: boolean },
  ): Promise<DaemonInTest>;
}

export async function openDaemonBench(): Promise<DaemonBench> {
  const directory = await mkdtemp(join(tmpdir(), "damselfly-run-"));
  const authority = await createAuthority();
  const daemons: DaemonInTest[] = [];
  return {
    directory,
    identity: (name) => issueIdentity(authority, name),
    async start(name, settings = {}, { tls = false } = {}) {
      const paths = tls ? await certify(authority, directory, name) : {};
      const daemon = await start(directory, name, { ...paths, ...settings });
      daemons.push(daemon);
      return daemon;
    },
    async [Symbol.asyncDispose]() {
      for (const daemon of daemons.toReversed()) await daemon.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * A port that was free a moment ago, for what does not say which one it got. Below those that Linux gives out by itself, so that nobody is
 * given it meanwhile.
 */
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt += 1) {
    const port = 20_000 + randomInt(12_000);
    const server = createServer().listen(port, LOOPBACK);
    try {
      await once(server, "listening");
    } catch {
      continue; // somebody else's
    }
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("Cannot find a free port: each that was tried is taken");
}

async function issueIdentity(authority: Authority, name: string): Promise<TlsIdentity> {
  const node = await issueCertificate(authority, { hostname: name, ips: [LOOPBACK] });
  return { caCert: authority.cert, ...node };
}

async function certify(
  authority: Authority,
  directory: string,
  name: string,
): Promise<Record<string, string>> {
  const paths: Record<string, string> = {};
  await mkdir(join(directory, "certs"), { recursive: true });
  for (const [field, text] of Object.entries(await issueIdentity(authority, name))) {
    paths[`security.${field}`] = join(directory, "certs", `${name}-${field}.pem`);
    await writeFile(paths[`security.${field}`]!, text);
  }
  return paths;
}

async function start(
  directory: string,
  name: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<DaemonInTest> {
  const given = {
    "host.hostname": name,
    "host.ip": LOOPBACK,
    "download.server.socketPath": join(directory, `${name}.sock`),
    "storage.dir": join(directory, name),
    "upload.server.ip": LOOPBACK,
    "upload.server.port": 0,
    "storage.server.ip": LOOPBACK,
    "storage.server.grpcPort": 0,
    "storage.server.tcpPort": 0,
    "storage.server.quic.port": 0,
    "storage.server.quic.quinnPort": 0,
    "health.server.ip": LOOPBACK,
    "health.server.port": 0,
    "metrics.server.ip": LOOPBACK,
    "metrics.server.port": 0,
    "stats.server.ip": LOOPBACK,
    "stats.server.port": 0,
    ...settings,
  };
  const flags = Object.entries(given).map(([path, value]) => ({ flag: "--set", path, value }));
  const { config } = await loadConfig({ path: devNull, flags });
  const stop = new AbortController();
  const log: string[] = [];
  let onReady: (daemon: RunningDaemon) => void = () => {};
  const ready = new Promise<RunningDaemon>((resolve) => {
    onReady = resolve;
  });
  const ended = runDaemon(config, { logger: loggerInto(log), signal: stop.signal, onReady });
  const failed = ended.then(() => {
    throw new Error("the daemon ended before it was ready");
  });
  const daemon = await Promise.race([ready, failed]);
  failed.catch(() => {}); // it was ready: `ended` tells the rest
  return {
    ...daemon,
    name,
    log,
    ended,
    async stop() {
      stop.abort();
      await ended;
    },
  };
}

function loggerInto(log: string[]): Logger {
  const at =
    (level: string) =>
    (_: object, message: string): void =>
      void log.push(`${level} ${message}`);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
