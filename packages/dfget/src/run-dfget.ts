import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, resolve } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import { checkOutput } from "./check-output.ts";
import { findDaemon, type FoundDaemon, locateDefaultEndpoint } from "./connect-daemon.ts";
import { fromRpcError } from "./daemon-error.ts";
import { createDownloadRequest, parseCertificates } from "./download-request.ts";
import { DfgetError, Interrupt, systemErrorCode } from "./errors.ts";
import { followDownload } from "./follow-download.ts";
import { formatFailure } from "./format-failure.ts";
import { formatHelp } from "./format-help.ts";
import { formatDuration } from "./format-quantities.ts";
import { createJsonReporter } from "./json-reporter.ts";
import type { DownloadOptions } from "./options.ts";
import { createOrderedOutput } from "./ordered-output.ts";
import { openOutputFile } from "./output-file.ts";
import type { DaemonCommand } from "./own-daemon.ts";
import { type Command, parseArguments } from "./parse-arguments.ts";
import type { PieceSink } from "./piece-sink.ts";
import { createTextReporter, isCapableTerminal, type Reporter } from "./reporter.ts";
import type { TransferPlan } from "./transfer-plan.ts";

/** Everything that dfget has to do with the process it runs in. */
export interface DfgetIo {
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Stops the download; give an `Interrupt` as the reason. */
  readonly signal: AbortSignal;
  /** Undefined where there are no user ids. */
  readonly uid: number | undefined;
  readonly pid: number;
  readonly cwd: string;
  readonly platform: string;
  /** Where the node's daemon is looked for; absent: where Dragonfly's is. */
  readonly defaultEndpoint?: string;
  /** How to start a daemon; absent: the installed dfdaemon. */
  readonly daemonCommand?: DaemonCommand;
}

/**
 * dfget without its process: resolves with the exit code, when everything it wrote has been taken. 0 done, 1 failed, 2 wrong usage,
 * 130 and 143 stopped by SIGINT and SIGTERM. Never rejects for a reason of the user's.
 */
export async function runDfget(argv: readonly string[], io: DfgetIo): Promise<number> {
  // A reader that went away is noticed where it matters, in the output; for messages it does not.
  io.stdout.on("error", ignore);
  io.stderr.on("error", ignore);
  try {
    const exitCode = await run(argv, io);
    const flushed = Promise.all([flush(io.stdout), flush(io.stderr)]);
    // Whoever stopped dfget, or let it fail by reading nothing, does not get to hold it.
    await (exitCode === 0
      ? flushed
      : Promise.race([flushed, delay(FLUSH_MS, undefined, { ref: false })]));
    return exitCode;
  } finally {
    io.stdout.off("error", ignore);
    io.stderr.off("error", ignore);
  }
}

function ignore(): void {}

const FLUSH_MS = 1000;

/** 8 MiB. */
const FLOW_CONTROL_WINDOW = 8 << 20;

async function run(argv: readonly string[], io: DfgetIo): Promise<number> {
  let command: Command;
  try {
    command = parseArguments(argv, io.env);
  } catch (error) {
    if (!(error instanceof DfgetError)) throw error;
    reportUsageError(error, argv, io);
    return 2;
  }
  if (command.kind === "download") return await download(command.options, io);
  io.stdout.write(command.kind === "help" ? formatHelp() : `dfget ${readVersion()}\n`);
  return 0;
}

async function download(options: DownloadOptions, io: DfgetIo): Promise<number> {
  const { timeoutMs } = options;
  using reporter = createReporter(options, io);
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    const message = `Cannot download within ${formatDuration(timeoutMs)}, the limit of --timeout`;
    timeout.abort(new DfgetError("ERR_TIMEOUT", message));
  }, timeoutMs).unref();
  try {
    await transfer(options, io, reporter, AbortSignal.any([io.signal, timeout.signal]));
    reporter.done();
    return 0;
  } catch (error) {
    if (!(error instanceof DfgetError)) throw error;
    const exitCode = exitCodeOf(error);
    reporter.failed(error, exitCode);
    return exitCode;
  } finally {
    clearTimeout(timer);
  }
}

async function transfer(
  options: DownloadOptions,
  io: DfgetIo,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const path =
    options.output === "-"
      ? undefined
      : await checkOutput(options.output, { cwd: io.cwd, overwrite: options.overwrite });
  const certificateChain =
    options.caCertPath === undefined
      ? []
      : await readCertificates(resolve(io.cwd, options.caCertPath));
  const daemon = await findDaemon({
    ...options,
    ...io,
    defaultEndpoint: io.defaultEndpoint ?? locateDefaultEndpoint(io.platform, io.env),
    command: io.daemonCommand,
    signal,
  });
  if (daemon.note !== undefined) reporter.note(daemon.note);

  const takesContent = path === undefined || writesItself(options, io, daemon);
  const request = createDownloadRequest(options, {
    outputPath: takesContent ? undefined : path,
    certificateChain,
  });
  // Loaded late: what is wrong with the arguments is told before gRPC has been read from disk.
  const rpc = await import("@damselfly/rpc");
  await using client = rpc.createDfdaemonDownloadClient(
    { socketPath: daemon.socketPath },
    {
      channelOptions: {
        // A message holds a piece, whose length the user chooses.
        "grpc.max_receive_message_length": -1,
        "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW,
      },
    },
  );
  let hasStarted = false;
  try {
    await followDownload(client.downloadTask({ download: request }, { signal }), {
      range: options.range,
      openSink: takesContent ? (plan) => openSink(plan, { path, options, io, signal }) : undefined,
      listener: {
        started: (task) => {
          hasStarted = true;
          reporter.started(task);
        },
        advanced: () => reporter.advanced(),
      },
    });
  } catch (error) {
    if (!(error instanceof rpc.RpcError)) throw error;
    throw fromRpcError(error, {
      hasStarted,
      socketPath: daemon.socketPath,
      origin: rpc.backendDetails(error),
    });
  }
}

/** Whether the daemon cannot, or shall not, write the output: it would belong to the daemon's user, and hold the whole file. */
function writesItself(options: DownloadOptions, io: DfgetIo, daemon: FoundDaemon): boolean {
  const isOtherUser = io.uid !== undefined && io.uid !== daemon.uid;
  if (isOtherUser && options.forceHardLink) {
    throw new DfgetError(
      "ERR_OUTPUT",
      `Cannot make a hard link: the daemon runs as user ${daemon.uid}, dfget as user ${io.uid}`,
    );
  }
  return isOtherUser || options.transferFromDaemon || options.range !== undefined;
}

function openSink(
  plan: TransferPlan,
  target: {
    readonly path: string | undefined;
    readonly options: DownloadOptions;
    readonly io: DfgetIo;
    readonly signal: AbortSignal;
  },
): Promise<PieceSink> {
  const { path, io, signal } = target;
  const { digest, overwrite } = target.options;
  if (path !== undefined) return openOutputFile({ path, length: plan.length, overwrite, digest });
  const temporaryDirectory = io.env["TMPDIR"] || tmpdir();
  return Promise.resolve(
    createOrderedOutput({ target: io.stdout, digest, temporaryDirectory, signal }),
  );
}

async function readCertificates(path: string): Promise<readonly Uint8Array[]> {
  try {
    return parseCertificates(await readFile(path, "utf8"));
  } catch (error) {
    const reason =
      error instanceof RangeError ? error.message : (systemErrorCode(error) ?? "unknown error");
    throw new DfgetError("ERR_USAGE", `Cannot read --ca-cert ${path}: ${reason}`, { cause: error });
  }
}

function createReporter(options: DownloadOptions, io: DfgetIo): Reporter {
  const { url, output, progress } = options;
  const label = basename(output === "-" ? decodeURIComponentSafely(new URL(url).pathname) : output);
  const shared = { url, label, progress, env: io.env, secretParams: options.filteredQueryParams };
  if (!options.json) return createTextReporter({ ...shared, target: io.stderr });
  return createJsonReporter({
    ...shared,
    target: output === "-" ? io.stderr : io.stdout,
    label: output,
  });
}

function reportUsageError(error: DfgetError, argv: readonly string[], io: DfgetIo): void {
  if (argv.includes("--json")) {
    io.stdout.write(
      `${JSON.stringify({ event: "error", code: error.code, message: error.message, exitCode: 2 })}\n`,
    );
    return;
  }
  const color = isCapableTerminal(io.stderr, io.env) && (io.env["NO_COLOR"] ?? "") === "";
  io.stderr.write(`${formatFailure(error, { color })}\nTry 'dfget --help'.\n`);
}

function exitCodeOf(error: DfgetError): number {
  if (error instanceof Interrupt) return error.signal === "SIGINT" ? 130 : 143;
  return error.code === "ERR_USAGE" ? 2 : 1;
}

function readVersion(): string {
  // src/ and dist/ lie equally deep.
  const path = new URL("../package.json", import.meta.url);
  const manifest: { readonly version: string } = JSON.parse(readFileSync(path, "utf8"));
  return manifest.version;
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not UTF-8: shown as it was written
  }
}

/** Resolves when everything written has been taken, or never will be. */
function flush(stream: Writable): Promise<void> {
  if (stream.destroyed || stream.writableEnded || stream.writableLength === 0)
    return Promise.resolve();
  return new Promise((done) => void stream.write("", () => done()));
}
