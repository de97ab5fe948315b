import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { resolve } from "node:path";

import { callDaemon, CallFailure } from "./call-daemon.ts";
import { checkOutput } from "./check-output.ts";
import { findDaemon, type FoundDaemon, locateDefaultEndpoint } from "./connect-daemon.ts";
import { fromCallFailure } from "./daemon-error.ts";
import { watchDaemonOutput } from "./daemon-output.ts";
import type { DfgetIo } from "./dfget-io.ts";
import { createDownloadRequest, parseCertificates } from "./download-request.ts";
import { DfgetError, systemErrorCode } from "./errors.ts";
import { followDownload } from "./follow-download.ts";
import type { DownloadOptions } from "./options.ts";
import { createOrderedOutput } from "./ordered-output.ts";
import {
  type DaemonRequest,
  type DaemonResponse,
  decodeResponse,
  encodeRequest,
} from "./message-codec.ts";
import { openOutputFile } from "./output-file.ts";
import type { PieceSink } from "./piece-sink.ts";
import type { Reporter } from "./reporter.ts";
import { openSpillFile } from "./spill-file.ts";
import type { TransferPlan } from "./transfer-plan.ts";

/**
 * Does one download from the checks before it to the file in its place, and tells `reporter` how it goes.
 *
 * @throws {DfgetError} or the signal's reason
 */
export async function download(
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
  const job: Job = { options, io, reporter, signal, path, certificateChain };
  for (let attempt = 1; ; attempt += 1) {
    const daemon = await findDaemon({
      ...options,
      ...io,
      defaultEndpoint: io.defaultEndpoint ?? locateDefaultEndpoint(io.platform, io.env),
      command: io.daemonCommand,
      signal,
    });
    if (daemon.note !== undefined) reporter.note(daemon.note);
    try {
      return await runJob(daemon, job);
    } catch (error) {
      // It answered a moment ago: a daemon of one's own may just have ended for idleness.
      const isGone = error instanceof DfgetError && error.code === "ERR_DAEMON_UNREACHABLE";
      if (!isGone || attempt === 2 || options.endpoint !== undefined) throw error;
    }
  }
}

interface Job {
  readonly options: DownloadOptions;
  readonly io: DfgetIo;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /** Undefined: standard output. */
  readonly path: string | undefined;
  /** DER. */
  readonly certificateChain: readonly Uint8Array[];
}

async function runJob(daemon: FoundDaemon, job: Job): Promise<void> {
  const { options, io, path } = job;
  if (path === undefined || writesItself(options, io, daemon)) {
    await transfer(daemon, job, undefined);
    return;
  }
  try {
    await transfer(daemon, job, path);
  } catch (error) {
    // The socket is this user's, and the daemon is not; or it does not want the file downloaded, and says so again.
    const isDenied = error instanceof DfgetError && error.status === "PERMISSION_DENIED";
    if (!isDenied || options.forceHardLink) throw error;
    await transfer(daemon, job, undefined);
  }
}

/** One call. `outputPath`: where the daemon writes the file; undefined: it sends the content. */
async function transfer(
  daemon: FoundDaemon,
  job: Job,
  outputPath: string | undefined,
): Promise<void> {
  const { options, io, reporter, signal, certificateChain } = job;
  const request = createDownloadRequest(options, { outputPath, uid: io.uid, certificateChain });
  const output =
    outputPath === undefined ? undefined : await watchDaemonOutput(outputPath, options.digest);
  let hasStarted = false;
  let length = 0;
  try {
    await followDownload(downloadTask(daemon.socketPath, request, signal), {
      range: options.range,
      openSink: outputPath === undefined ? (plan) => openSink(plan, job) : undefined,
      listener: {
        started: (task) => {
          hasStarted = true;
          ({ length } = task.plan);
          output?.started(task);
          reporter.started(task);
        },
        advanced: () => reporter.advanced(),
        waiting: (wait) => reporter.waiting(wait),
      },
    });
    await output?.assertDelivered(length);
  } catch (error) {
    // Of a name that was taken the daemon has nothing, whoever's daemon it is.
    const isTaken = error instanceof CallFailure && error.code === "ALREADY_EXISTS";
    if (!isTaken) await output?.discard();
    if (!(error instanceof CallFailure)) throw error;
    const { socketPath } = daemon;
    throw await fromCallFailure(error, { hasStarted, socketPath, range: options.range });
  }
}

async function* downloadTask(
  socketPath: string,
  request: DaemonRequest,
  signal: AbortSignal,
): AsyncGenerator<DaemonResponse, void, undefined> {
  for await (const bytes of callDaemon(socketPath, DOWNLOAD_TASK, encodeRequest(request), signal)) {
    yield decodeOrFail(bytes);
  }
}

function decodeOrFail(bytes: Uint8Array): DaemonResponse {
  try {
    return decodeResponse(bytes);
  } catch (cause) {
    throw new DfgetError("ERR_PROTOCOL", "Cannot follow the daemon: it sent what is no answer", {
      cause,
    });
  }
}

/** Whether the daemon cannot, or shall not, write the output: it would belong to the daemon's user, and hold the whole file. */
function writesItself(options: DownloadOptions, io: DfgetIo, daemon: FoundDaemon): boolean {
  const isOtherUser = io.uid !== undefined && io.uid !== daemon.socketUid;
  if (isOtherUser && options.forceHardLink) {
    throw new DfgetError(
      "ERR_OUTPUT",
      `Cannot make a hard link: the daemon's socket is user ${daemon.socketUid}'s, dfget runs as user ${io.uid}`,
    );
  }
  return isOtherUser || options.transferFromDaemon || options.range !== undefined;
}

function openSink(plan: TransferPlan, job: Job): Promise<PieceSink> {
  const { path, io, signal } = job;
  const { digest, overwrite } = job.options;
  if (path !== undefined) return openOutputFile({ path, length: plan.length, overwrite, digest });
  const temporaryDirectory = io.env["TMPDIR"] || tmpdir();
  return Promise.resolve(
    createOrderedOutput({
      target: io.stdout,
      digest,
      openSpillFile: () => openSpillFile(temporaryDirectory),
      signal,
    }),
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

const DOWNLOAD_TASK = "/dfdaemon.v2.DfdaemonDownload/DownloadTask";
