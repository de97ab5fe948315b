import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import type { DfgetIo } from "./dfget-io.ts";
import { download } from "./download.ts";
import { DfgetError, Interrupt } from "./errors.ts";
import { formatFailure } from "./format-failure.ts";
import { formatHelp } from "./format-help.ts";
import { formatDuration } from "./format-quantities.ts";
import { createJsonReporter } from "./json-reporter.ts";
import type { DownloadOptions } from "./options.ts";
import { type Command, parseArguments } from "./parse-arguments.ts";
import { createTextReporter, isCapableTerminal, type Reporter } from "./reporter.ts";
import { systemFailure } from "./system-failure.ts";

/**
 * dfget without its process: resolves with the exit code, when everything it wrote has been taken. 0 done, 1 failed, 2 wrong usage,
 * 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM. Never rejects for a reason of the user's.
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

async function run(argv: readonly string[], io: DfgetIo): Promise<number> {
  let command: Command;
  try {
    command = parseArguments(argv, io.env);
  } catch (error) {
    if (!(error instanceof DfgetError)) throw error;
    reportUsageError(error, argv, io);
    return 2;
  }
  if (command.kind === "download") return await runDownload(command.options, io);
  io.stdout.write(command.kind === "help" ? formatHelp() : `dfget ${readVersion()}\n`);
  return 0;
}

async function runDownload(options: DownloadOptions, io: DfgetIo): Promise<number> {
  const { timeoutMs } = options;
  using reporter = createReporter(options, io);
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    const message = `Cannot download within ${formatDuration(timeoutMs)}, the limit of --timeout`;
    timeout.abort(new DfgetError("ERR_TIMEOUT", message));
  }, timeoutMs).unref();
  try {
    await download(options, io, reporter, AbortSignal.any([io.signal, timeout.signal]));
    reporter.done();
    return 0;
  } catch (thrown) {
    // What no part of it has words for: whoever reads JSON lines waits for the last one.
    const error = systemFailure(`download to ${options.output}`, thrown);
    if (!(error instanceof DfgetError)) throw error;
    const exitCode = exitCodeOf(error);
    reporter.failed(error, exitCode);
    return exitCode;
  } finally {
    clearTimeout(timer);
  }
}

function createReporter(options: DownloadOptions, io: DfgetIo): Reporter {
  const { url, output, progress } = options;
  const label = basename(output === "-" ? decodeURIComponentSafely(new URL(url).pathname) : output);
  // A bar amid the file on one terminal helps nobody.
  const showsProgress = progress && !(output === "-" && io.stdout.isTTY === true);
  const shared = {
    url,
    label,
    progress: showsProgress,
    env: io.env,
    secretParams: options.filteredQueryParams,
  };
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
  if (error instanceof Interrupt) return error.exitCode;
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
