import { existsSync } from "node:fs";
import { link, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";

import {
  type CallContext,
  type Download__Output,
  type DownloadTaskResponse,
  implementService,
  type Piece,
  serveRpc,
} from "@damselfly/rpc";

import type { DfgetIo } from "../dfget-io.ts";
import { runDfget } from "../run-dfget.ts";

/** A directory that goes with the test. */
export async function openTemporaryDirectory(): Promise<
  AsyncDisposable & { readonly path: string }
> {
  const path = await mkdtemp(join(tmpdir(), "dfget-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export type FakeDownload = (
  download: Download__Output,
  context: CallContext,
) => AsyncIterable<DownloadTaskResponse>;

export interface FakeDaemon extends AsyncDisposable {
  readonly socketPath: string;
  /** What was asked for, in order. */
  readonly downloads: readonly Download__Output[];
}

/** A DfdaemonDownload service at a real unix socket that answers DownloadTask as the test says. */
export async function serveFakeDaemon(
  socketPath: string,
  downloadTask: FakeDownload,
): Promise<FakeDaemon> {
  const downloads: Download__Output[] = [];
  const server = await serveRpc({
    address: { socketPath, mode: 0o600 },
    services: [
      implementService("dfdaemon.v2.DfdaemonDownload", {
        async *downloadTask({ download }, context) {
          if (!download) throw new TypeError("no download");
          downloads.push(download);
          yield* downloadTask(download, context);
        },
      }),
    ],
    graceMs: 100,
    channelOptions: { "grpc.max_send_message_length": -1 },
  });
  return { socketPath, downloads, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** A daemon that ends the call with this error. */
export function failWith(reason: Error): FakeDownload {
  return () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(reason) }) });
}

/** A task that a fake daemon has: `content` cut into pieces of `pieceLength` bytes. */
export class FakeTask {
  readonly content: Buffer;
  readonly pieceLength: number;

  constructor(content: Buffer, pieceLength: number) {
    this.content = content;
    this.pieceLength = pieceLength;
  }

  get pieceNumbers(): number[] {
    return Array.from(
      { length: Math.ceil(this.content.length / this.pieceLength) },
      (_, number) => number,
    );
  }

  /** `atomicOutput`: as our daemon has it, whose outputs appear complete. */
  started(
    options: { readonly pieceNumbers?: readonly number[]; readonly atomicOutput?: boolean } = {},
  ): DownloadTaskResponse {
    const { pieceNumbers = this.pieceNumbers, atomicOutput } = options;
    const pieces = pieceNumbers.map((number) => this.#span(number));
    const started = {
      contentLength: this.content.length,
      pieces,
      ...(atomicOutput === undefined ? {} : { extension: { atomicOutput } }),
    };
    return { ...IDS, downloadTaskStartedResponse: started };
  }

  finished(number: number, piece: Piece = {}): DownloadTaskResponse {
    return {
      ...IDS,
      downloadPieceFinishedResponse: {
        piece: { ...this.#span(number), trafficType: "BACK_TO_SOURCE", ...piece },
      },
    };
  }

  contentOf(number: number): Buffer {
    const { offset = 0, length = 0 } = this.#span(number);
    return this.content.subarray(offset, offset + length);
  }

  /** Does what a daemon does: the pieces in the given order, with content if asked for, and else the output at the end. */
  async *serve(
    download: Download__Output,
    options: { readonly order?: readonly number[]; readonly piece?: Piece } = {},
  ): AsyncGenerator<DownloadTaskResponse> {
    yield this.started();
    for (const number of options.order ?? this.pieceNumbers) {
      yield this.finished(number, {
        ...(download.needPieceContent ? { content: this.contentOf(number) } : {}),
        ...options.piece,
      });
    }
    if (download.outputPath !== undefined) await writeFile(download.outputPath, this.content);
  }

  #span(number: number): Piece {
    const offset = number * this.pieceLength;
    return { number, offset, length: Math.min(this.pieceLength, this.content.length - offset) };
  }
}

/**
 * Answers as Dragonfly's daemon does, as far as a caller notices: a new output is linked to the daemon's file before any byte is in it,
 * one that exists is replaced at the end and not checked.
 */
export async function* serveDragonfly(
  task: FakeTask,
  download: Download__Output,
  options: {
    /** Everything is there already. */
    readonly isFinished?: boolean;
    /** Pieces that are sent; all unless given. */
    readonly pieceNumbers?: readonly number[];
    /** Of which the task fails; 0: before it has begun. */
    readonly failAfter?: number;
    readonly reason?: Error;
  } = {},
): AsyncGenerator<DownloadTaskResponse> {
  const { isFinished = false, pieceNumbers = task.pieceNumbers, failAfter, reason } = options;
  if (failAfter === 0) throw reason ?? new Error("no reason");
  const { outputPath } = download;
  const links = outputPath !== undefined && !existsSync(outputPath);
  if (links) {
    await writeFile(`${outputPath}.task`, isFinished ? task.content : "");
    await link(`${outputPath}.task`, outputPath);
  }
  const started = task.started();
  yield {
    ...started,
    downloadTaskStartedResponse: { ...started.downloadTaskStartedResponse, isFinished },
  };
  for (const [index, number] of pieceNumbers.entries()) {
    if (index === failAfter) throw reason ?? new Error("no reason");
    yield task.finished(number, {
      ...(download.needPieceContent ? { content: task.contentOf(number) } : {}),
      ...(isFinished ? { trafficType: "LOCAL_PEER" as const } : {}),
    });
  }
  if (outputPath !== undefined && (links || download.overwrite))
    await writeFile(outputPath, task.content);
}

const IDS = {
  hostId: "127.0.0.1-here",
  taskId: "a".repeat(64),
  peerId: "127.0.0.1-here-0d8b0a3c-9e6f-4d3e-8a8c-2f7a3a9f1b11",
};

/** What dfget wrote and how it ended. */
export interface DfgetResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs dfget in this process, with nothing around it but what `options` say. */
export async function runInProcess(
  argv: readonly string[],
  options: Partial<DfgetIo> & { readonly isTTY?: boolean } = {},
): Promise<DfgetResult> {
  const stdout = new CapturedStream();
  const stderr = new CapturedStream();
  stderr.isTTY = options.isTTY === true;
  const exitCode = await runDfget(argv, {
    stdout,
    stderr,
    env: {},
    signal: new AbortController().signal,
    uid: process.getuid?.(),
    pid: process.pid,
    cwd: tmpdir(),
    platform: process.platform,
    ...options,
  });
  return { exitCode, stdout: stdout.bytes, stderr: stderr.bytes.toString() };
}

/** Keeps what is written to it. */
export class CapturedStream extends Writable {
  isTTY = false;
  columns = 100;
  readonly #chunks: Buffer[] = [];

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#chunks.push(Buffer.from(chunk));
    setImmediate(callback);
  }
}
