import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { ServeError } from "@damselfly/rpc";
import { loadSettings, openLog, SettingsError } from "@damselfly/settings";
import { openListenPolicy } from "./listen-policy.ts";
import { HELP, parseArguments, type RunOptions, UsageError } from "./parse-arguments.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import { serveScheduler } from "./serve-scheduler.ts";
import { type SchedulerSettings, settingsSchema } from "./settings.ts";

/** Where Dragonfly keeps it too. */
const DEFAULT_CONFIG_PATH = "/etc/dragonfly/scheduler.yaml";
/** Variables that stand for flags rather than settings. */
const FLAG_VARIABLES = ["DFSCHEDULER_CONFIG", "DFSCHEDULER_LOG_LEVEL", "DFSCHEDULER_CONSOLE"];

/** What a process has and dfscheduler uses. */
export interface SchedulerIo {
  /** For the ready line, help and version. */
  readonly stdout: { write(text: string): unknown };
  /** For the log and errors. */
  readonly stderr: { write(text: string): unknown };
  /** Then its lines are for people, and coloured. */
  readonly stderrIsTerminal?: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Stops the scheduler gracefully. */
  readonly signal: AbortSignal;
  /** Is given what has the certificates looked at, once there are any. */
  readonly onReload?: (reload: () => void) => void;
}

/**
 * dfscheduler without its process: resolves with the exit code. 0 stopped or nothing to do, 1 could not start, 2 wrong
 * usage. Never rejects for a reason of the user's.
 */
export async function runScheduler(argv: readonly string[], io: SchedulerIo): Promise<number> {
  try {
    const command = parseArguments(argv, io.env);
    if (command.kind === "help") io.stdout.write(HELP);
    else if (command.kind === "version") io.stdout.write(`dfscheduler ${await readVersion()}\n`);
    else await run(command.options, io);
    return 0;
  } catch (error) {
    const isExpected =
      error instanceof UsageError || error instanceof SettingsError || error instanceof ServeError;
    if (!isExpected) throw error;
    io.stderr.write(`dfscheduler: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function run(options: RunOptions, io: SchedulerIo): Promise<void> {
  const { settings, warnings } = await loadSettings({
    schema: settingsSchema,
    path: options.configPath ?? DEFAULT_CONFIG_PATH,
    required: options.configPath !== undefined,
    env: io.env,
    envPrefix: "DFSCHEDULER",
    ignoredEnv: FLAG_VARIABLES,
  });
  const logger = openLog({
    name: "dfscheduler",
    level: options.logLevel,
    console: options.console,
    isTerminal: io.stderrIsTerminal ?? false,
    stderr: io.stderr,
  });
  await using policy = await openListenPolicy(settings, logger);
  io.onReload?.(() => void policy.files.look());
  for (const warning of [...warnings, ...policy.warnings]) logger.warn({}, warning);
  await using server = await serveScheduler({
    address: { ip: policy.listenIp, port: settings.server.port },
    tls: policy.tls,
    plainPeers: policy.plainPeers,
    seedTls: policy.seedTls,
    seeds: settings.security.seeds,
    config: toConfig(settings),
    requestsPerSecondMax: settings.server.requestRateLimit,
    logger,
  });
  const { ip, port } = server.address;
  const address = formatAddress(settings.server.advertiseIP ?? ip, port);
  const how =
    policy.tls === undefined ? "plain" : `mutual TLS${policy.plainPeers ? " and plain" : ""}`;
  io.stdout.write(`dfscheduler is ready at ${address} (${how})\n`);
  if (!io.signal.aborted) await once(io.signal, "abort");
  logger.info({}, "stopping");
}

function toConfig({ scheduler }: SchedulerSettings): Partial<SchedulerConfig> {
  const { gc } = scheduler;
  return {
    retryLimit: scheduler.retryLimit,
    retryBackToSourceLimit: scheduler.retryBackToSourceLimit,
    retryIntervalMs: scheduler.retryInterval,
    backToSourceCount: scheduler.backToSourceCount,
    originLeaseMs: scheduler.originLease,
    pieceDownloadTimeoutMs: gc.pieceDownloadTimeout,
    gcIntervalMs: gc.peerGCInterval,
    peerTtlMs: gc.peerTTL,
    hostTtlMs: gc.hostTTL,
  };
}

function formatAddress(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

async function readVersion(): Promise<string> {
  // src/ and dist/ lie equally deep.
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  const manifest: { readonly version: string } = JSON.parse(text);
  return manifest.version;
}
