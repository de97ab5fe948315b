import { performance } from "node:perf_hooks";
import { DaemonError } from "../../../errors.ts";
import type { Logger } from "../../../logger.ts";
import { messageOf } from "../../../message-of.ts";
import { pause } from "../../../pause.ts";
import type { WorkerInit, WorkerReady } from "../protocol.ts";
import { RestartPolicy } from "./restart-policy.ts";
import { RunningWorker, type WorkerSurroundings } from "./running-worker.ts";
import type { ProcessEnd, WorkerProcess } from "./worker-process.ts";

/** Whoever needs a process waits for one no longer than this. Milliseconds. */
const WAIT_MS_MAX = 30_000;

export interface WorkerSlotInit {
  /** Zero-based, among the data-plane processes of this daemon. */
  readonly number: number;
  readonly spawn: () => WorkerProcess;
  /** What a process is told: the first one, or one that takes the place of one that served `former`. */
  readonly initOf: (state: {
    readonly former: WorkerReady | undefined;
    readonly withoutQuic: boolean;
  }) => WorkerInit;
  readonly surroundings: WorkerSurroundings;
  readonly observer: DataPlaneObserver;
  /** Called each time a process serves. */
  readonly onReady: (worker: RunningWorker) => void;
  readonly logger: Logger;
}

/** Who counts the ends of data-plane processes. */
export interface DataPlaneObserver {
  /** @param end as in "was ended by SIGABRT"; `replacedMs` later another one served, in milliseconds */
  dataPlaneReplaced(end: string, replacedMs: number): void;
  quicLeftOut(): void;
}

/** Keeps one data-plane process running: one that ends is replaced, sooner or later. */
export class WorkerSlot {
  readonly #init: WorkerSlotInit;
  readonly #policy = new RestartPolicy();
  readonly #stopping = new AbortController();
  #current: RunningWorker | undefined;
  #newest: RunningWorker | undefined;
  #lastEnd = "has not been started";
  #keeping: Promise<void> | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(init: WorkerSlotInit) {
    this.#init = init;
  }

  /** The process that serves at this moment. */
  get current(): RunningWorker | undefined {
    return this.#current;
  }

  /** The process that was last told how to start, whether it serves yet or not: what changes after that it is to be told, too. */
  get newest(): RunningWorker | undefined {
    return this.#newest;
  }

  /** @throws {DaemonError} what keeps the first process from starting */
  async open(): Promise<void> {
    const opening = this.#open();
    this.#keeping = opening.catch(() => {}); // who opens it is told
    await opening;
  }

  /**
   * The process that serves, or the next one that will.
   *
   * @throws {DaemonError} `ERR_DATA_PLANE` if there is none for long, `ERR_CLOSED`
   * @throws the signal's reason
   */
  async running(signal?: AbortSignal): Promise<RunningWorker> {
    const deadlineMs = performance.now() + WAIT_MS_MAX;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#stopping.signal.aborted) throw closing();
      if (this.#current !== undefined) return this.#current;
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) {
        throw new DaemonError(
          "ERR_DATA_PLANE",
          `Cannot move content: no data-plane process has served for ${WAIT_MS_MAX / 1000} s, the last one ${this.#lastEnd}`,
        );
      }
      await this.#change(leftMs, signal);
    }
  }

  /** Lets the process finish what it serves, and starts no other. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#current?.stop();
    await this.#keeping;
  }

  /** Keeps it from here on; stopped meanwhile, as when another slot cannot be opened, it starts in vain. */
  async #open(): Promise<void> {
    const worker = await this.#start(undefined);
    if (this.#stopping.signal.aborted) await worker.stop();
    else this.#keeping = this.#keep(worker);
  }

  async #start(former: WorkerReady | undefined): Promise<RunningWorker> {
    const { number, spawn, initOf, surroundings, onReady, logger } = this.#init;
    const startMs = performance.now();
    const worker = new RunningWorker(spawn(), surroundings);
    try {
      const starting = worker.start(initOf({ former, withoutQuic: this.#policy.withoutQuic }));
      this.#newest = worker;
      await starting;
    } catch (error) {
      worker.kill("could not be started");
      await worker.ended;
      throw error;
    }
    logger.info(
      { worker: number, pid: worker.pid, costMs: Math.round(performance.now() - startMs) },
      `data-plane process ${number} serves`,
    );
    onReady(worker);
    this.#current = worker;
    this.#wake();
    return worker;
  }

  /** Runs until the slot is stopped. */
  async #keep(first: RunningWorker): Promise<void> {
    const { signal } = this.#stopping;
    let worker: RunningWorker | undefined = first;
    let ready = first.ready;
    for (;;) {
      const end: ProcessEnd = await worker.ended;
      const endedMs = performance.now();
      this.#current = undefined;
      this.#lastEnd = end.reason;
      if (signal.aborted) return;
      worker = await this.#replace(end, ready);
      if (worker === undefined) return;
      ready = worker.ready;
      this.#init.observer.dataPlaneReplaced(end.reason, performance.now() - endedMs);
    }
  }

  /** Undefined: the slot is stopped. */
  async #replace(
    end: ProcessEnd,
    former: WorkerReady | undefined,
  ): Promise<RunningWorker | undefined> {
    const { logger, number, observer } = this.#init;
    const { signal } = this.#stopping;
    for (let reason = end.reason; ;) {
      const wasWithout = this.#policy.withoutQuic;
      const { pauseMs, withoutQuic, endCount } = this.#policy.ended(performance.now());
      const when = pauseMs === 0 ? "now" : `in ${pauseMs / 1000} s`;
      logger.error(
        { worker: number, endCount },
        `data-plane process ${number} ${reason}: another one is started ${when}, and what it was moving is asked for again`,
      );
      if (withoutQuic && !wasWithout) {
        observer.quicLeftOut();
        logger.error(
          { worker: number },
          `QUIC IS LEFT OUT from now on: data-plane process ${number} has ended ${endCount} times within ten minutes. ` +
            "Pieces come and go over TCP and gRPC until this daemon is started anew",
        );
      }
      await pause(pauseMs, signal);
      if (signal.aborted) return undefined;
      try {
        const worker = await this.#start(former);
        if (!signal.aborted) return worker;
        await worker.stop();
        return undefined;
      } catch (error) {
        reason = `could not be started: ${messageOf(error)}`;
        this.#lastEnd = reason;
      }
    }
  }

  async #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}

function closing(): DaemonError {
  return new DaemonError("ERR_CLOSED", "Cannot go on: the data plane is stopping");
}
