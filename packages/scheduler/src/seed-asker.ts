import {
  createDfdaemonUploadClient,
  type Download,
  type Download__Output,
  RpcError,
} from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import type { Host } from "./host.ts";
import type { Logger } from "./logger.ts";
import type { Task } from "./task.ts";

export interface SeedAskerOptions {
  /** For the calls to seeds; absent: plain. */
  readonly tls: Tls | undefined;
  /** Seeds that were announced without a certificate are asked without TLS. */
  readonly plainPeers: boolean;
  /** Calls at the same time. */
  readonly callCountMax: number;
  /** How long a seed may take to say whether it has a task. Milliseconds. */
  readonly inquiryMs: number;
  readonly logger: Logger;
  /** The seed did not take the task. */
  readonly onFailed: (taskId: string, hostId: string) => void;
  /** The seed has the whole task. */
  readonly onHolds: (
    taskId: string,
    seed: { readonly hostId: string; readonly peerId: string },
  ) => void;
  /** The seed was asked whether it has the task, and has not the whole of it, or did not say. */
  readonly onLacks: (taskId: string) => void;
}

/**
 * Asks seeds to fetch tasks, by calling their DfdaemonUpload.DownloadTask. A seed then registers a peer of its own; the
 * call is kept up until it ends, because a daemon may stop what nobody waits for.
 */
export class SeedAsker implements AsyncDisposable {
  readonly #options: SeedAskerOptions;
  readonly #calls = new Map<AbortController, Promise<void>>();

  constructor(options: SeedAskerOptions) {
    this.#options = options;
  }

  /** Starts a call in the background. @returns what ends it; undefined: there are too many already */
  ask(seed: Host, task: Task, download: Download__Output): (() => void) | undefined {
    const { onFailed } = this.#options;
    return this.#start((signal) =>
      this.#call({ seed, task, download: forSeed(download), signal }, () =>
        onFailed(task.id, seed.id),
      ),
    );
  }

  /**
   * Asks, in the background, whether the seed has the whole task. Before it answers that it has, it registers a peer which says what it
   * read; one that has not says NOT_FOUND. It fetches nothing. @returns false: there are too many calls already
   */
  inquire(seed: Host, task: Task, download: Download__Output): boolean {
    const { inquiryMs, onLacks } = this.#options;
    const question = { ...forSeed(download), needBackToSource: false, metadataOnly: true };
    const cancel = this.#start(async (stop) => {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(inquiryMs)]);
      await this.#call({ seed, task, download: question, signal }, () => {});
      onLacks(task.id);
    });
    return cancel !== undefined;
  }

  #start(work: (signal: AbortSignal) => Promise<void>): (() => void) | undefined {
    if (this.#calls.size >= this.#options.callCountMax) return undefined;
    const controller = new AbortController();
    const call = work(controller.signal).finally(() => this.#calls.delete(controller));
    this.#calls.set(controller, call);
    return () => controller.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const calls = [...this.#calls.values()];
    for (const controller of this.#calls.keys()) controller.abort();
    await Promise.all(calls);
  }

  /** Never rejects. */
  async #call({ seed, task, download, signal }: SeedCall, onFailed: () => void): Promise<void> {
    const { ip, port, hostname } = seed.facts;
    const { plainPeers, logger, onHolds } = this.#options;
    const tls = plainPeers && !seed.certified ? undefined : this.#options.tls;
    const about = { task: task.id, host: seed.id };
    await using client = createDfdaemonUploadClient(
      { ip, port },
      tls === undefined ? {} : { tls, expectedHostname: hostname },
    );
    let peerId = "";
    try {
      for await (const response of client.downloadTask({ download }, { signal })) {
        if (response.taskId !== task.id) {
          throw new Error(`the seed takes it for task ${response.taskId}`);
        }
        peerId = response.peerId;
        if (response.downloadTaskStartedResponse?.isFinished === true) {
          onHolds(task.id, { hostId: seed.id, peerId });
        }
      }
      if (peerId === "") onFailed();
      else if (!download.metadataOnly) onHolds(task.id, { hostId: seed.id, peerId });
    } catch (error) {
      if (signal.aborted) return;
      // That is an answer, too.
      if (download.metadataOnly && error instanceof RpcError && error.code === "NOT_FOUND") return;
      const failure = download.metadataOnly
        ? "seed did not say what it has"
        : "seed did not fetch the task";
      logger.warn({ ...about, err: error }, failure);
      onFailed();
    }
  }
}

interface SeedCall {
  readonly seed: Host;
  readonly task: Task;
  readonly download: Download;
  readonly signal: AbortSignal;
}

/** The same file, whatever the asker wants to do with it. */
function forSeed(download: Download__Output): Download {
  const { outputPath: _outputPath, timeout: _timeout, remoteIp: _remoteIp, ...same } = download;
  return {
    ...same,
    needBackToSource: true,
    disableBackToSource: false,
    needPieceContent: false,
    forceHardLink: false,
    overwrite: false,
    prefetch: false,
    isPrefetch: false,
    metadataOnly: false,
    // Dragonfly's seeds would fetch a small file without a word to us, and nobody could be sent there.
    schedulingPolicy: "ALWAYS",
  };
}
