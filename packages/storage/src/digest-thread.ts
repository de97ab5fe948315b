import { Worker } from "node:worker_threads";

/** The digest of a file in the making. */
export interface FileDigest {
  /** Takes in `length` bytes from `position` of an open file, which must stay open meanwhile. @throws what the file system throws, or `ThreadLost` */
  update(fd: number, range: { readonly position: number; readonly length: number }): Promise<void>;
  /** `<algorithm>:<value>`; ends it. @throws {ThreadLost} */
  finish(): Promise<string>;
  /** Forgets it. */
  close(): void;
}

/** The thread that computed has ended, or cannot be had. */
export class ThreadLost extends Error {
  override readonly name = "ThreadLost";
}

/**
 * Computes digests of files in a thread of its own, so that the one that serves everybody else does not stand still: SHA-256 of a GiB takes
 * 0.6 s with help from the processor, 2 to 3 s without, and reading it from the page cache another 0.15 s. There is one thread however many
 * digests, begun when it is needed (25 ms, 10 to 20 MB of memory), and ended when it has not been for a while: digests that are not finished by then
 * are lost.
 */
export class DigestThread implements AsyncDisposable {
  readonly #idleMs: number;
  #worker: Worker | undefined;
  readonly #calls = new Map<number, Call>();
  #lastId = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: { readonly idleMs?: number } = {}) {
    this.#idleMs = options.idleMs ?? 60_000;
  }

  /** Whether there is a thread at this moment. */
  get isRunning(): boolean {
    return this.#worker !== undefined;
  }

  /**
   * @param algorithm one that `createDigester` knows
   * @throws {ThreadLost} when there can be no thread
   */
  open(algorithm: string): FileDigest {
    const worker = this.#start();
    const digest = (this.#lastId += 1);
    return {
      update: async (fd, range) =>
        void (await this.#call(worker, { kind: "update", digest, algorithm, fd, ...range })),
      finish: async () =>
        `${algorithm}:${await this.#call(worker, { kind: "finish", digest, algorithm })}`,
      close: () => {
        if (worker === this.#worker) post(worker, { kind: "close", digest });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idleTimer);
    await this.#stop();
  }

  #start(): Worker {
    this.#restLater();
    if (this.#worker !== undefined) return this.#worker;
    const worker = startWorker();
    this.#worker = worker;
    worker.unref();
    worker.on("message", ({ id, value, failure }: Reply) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      this.#restLater();
      if (failure === undefined) call?.resolve(value);
      else call?.reject(Object.assign(new Error(failure.message), failure));
    });
    worker.on("error", (cause) => this.#lose(worker, cause));
    worker.on("exit", () => this.#lose(worker));
    return worker;
  }

  #call(worker: Worker, message: object): Promise<string> {
    if (worker !== this.#worker) return Promise.reject(lost());
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      post(worker, { id, ...message });
    });
  }

  #lose(worker: Worker, cause?: unknown): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { reject } of calls) reject(lost(cause));
  }

  #restLater(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => {
      if (this.#calls.size === 0) void this.#stop();
    }, this.#idleMs).unref();
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#lose(worker);
    await worker.terminate();
  }
}

function startWorker(): Worker {
  try {
    return new Worker(SOURCE, { eval: true, name: "digests" });
  } catch (cause) {
    throw lost(cause);
  }
}

function post(worker: Worker, message: object): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows, this is a thread
  worker.postMessage(message);
}

function lost(cause?: unknown): ThreadLost {
  return new ThreadLost("Cannot compute digest: its thread has ended", { cause });
}

interface Call {
  readonly resolve: (value: string) => void;
  readonly reject: (error: Error) => void;
}

interface Reply {
  readonly id: number;
  readonly value: string;
  readonly failure?: { readonly message: string; readonly code: string | undefined };
}

/**
 * What the thread runs. A text, because a thread cannot be given TypeScript on every Node that this runs on, and tests run without a build. The
 * descriptor is the process's, so nothing is opened here.
 */
const SOURCE = `
"use strict";
const { parentPort } = require("node:worker_threads");
const { createHash } = require("node:crypto");
const { readSync } = require("node:fs");
const { crc32 } = require("node:zlib");

const buffer = Buffer.allocUnsafeSlow(512 * 1024);
const digests = new Map();

function createCrc32() {
  let value = 0;
  return {
    update: (bytes) => { value = crc32(bytes, value); },
    digest: () => String(value),
  };
}

function digestOf({ digest, algorithm }) {
  let found = digests.get(digest);
  if (found === undefined) {
    found = algorithm === "crc32" ? createCrc32() : createHash(algorithm);
    digests.set(digest, found);
  }
  return found;
}

function run(message) {
  const { kind, fd, position, length } = message;
  if (kind === "close") {
    digests.delete(message.digest);
    return "";
  }
  const digest = digestOf(message);
  if (kind === "finish") {
    digests.delete(message.digest);
    return digest.digest("hex");
  }
  for (let done = 0; done < length;) {
    const wanted = Math.min(buffer.byteLength, length - done);
    const count = readSync(fd, buffer, 0, wanted, position + done);
    if (count === 0) throw new Error("the file ends at " + (position + done));
    digest.update(buffer.subarray(0, count));
    done += count;
  }
  return "";
}

parentPort.on("message", (message) => {
  try {
    parentPort.postMessage({ id: message.id, value: run(message) });
  } catch (error) {
    digests.delete(message.digest);
    const failure = { message: error.message, code: error.code };
    parentPort.postMessage({ id: message.id, value: "", failure });
  }
});
`;
