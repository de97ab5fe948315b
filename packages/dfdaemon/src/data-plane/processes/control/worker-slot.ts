import { performance } from "node:perf_hooks";
import { codeOf } from "../../../code-of.ts";
import { DaemonError } from "../../../errors.ts";
import type { Logger } from "../../../logger.ts";
import { messageOf } from "../../../message-of.ts";
import { pause } from "../../../pause.ts";
import type { WorkerInit, WorkerReady } from "../protocol.ts";
import type { QuicPolicy } from "./quic-policy.ts";
import { RestartPolicy } from "./restart-policy.ts";
import { RunningWorker, type WorkerSurroundings } from "./running-worker.ts";
import type { ProcessEnd, WorkerProcess } from "./worker-process.ts";

/** Whoever needs a process waits for one no longer than this. Milliseconds. */
const WAIT_MS_MAX = 30_000;

const LEAVING_QUIC_OUT = "was ended so that QUIC is left out";

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
  /** Shared by all slots of the daemon. */
  readonly quic: QuicPolicy;
  readonly observer: Pick<DataPlaneObserver, "dataPlaneReplaced">;
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
  #lastReady: WorkerReady | undefined;
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

  /** What the last process serves that was started, be it gone or not: the one that takes its place serves it again, less QUIC where that is left out. */
  get lastReady(): WorkerReady | undefined {
    const ready = this.#lastReady;
    if (ready === undefined || !this.#init.quic.isLeftOut) return ready;
    const offers = ready.offers.filter(({ protocol }) => protocol !== "quic");
    return { offers, quinnPort: undefined };
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

  /** QUIC is left out: a process that serves it gives way to one that does not. What it was moving is asked for again. */
  leaveQuicOut(): void {
    const worker = this.#current;
    // At once: nothing is to be begun in it any more.
    this.#current = undefined;
    worker?.kill(LEAVING_QUIC_OUT);
  }

  /** Lets the process finish what it serves, and starts no other; one that is being started serves nothing yet. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    if (this.#current === undefined) this.#newest?.kill("was not needed any more");
    else await this.#current.stop();
    await this.#keeping;
  }

  /** Keeps it from here on; stopped meanwhile, as when another slot cannot be opened, it starts in vain. */
  async #open(): Promise<void> {
    const worker = await this.#start();
    if (this.#stopping.signal.aborted) await worker.stop();
    else this.#keeping = this.#keep(worker);
  }

  async #start(): Promise<RunningWorker> {
    const { number, spawn, initOf, surroundings, quic, onReady, logger } = this.#init;
    const startMs = performance.now();
    const worker = new RunningWorker(spawn(), surroundings);
    const withoutQuic = quic.isLeftOut;
    try {
      const starting = worker.start(initOf({ former: this.#lastReady, withoutQuic }));
      this.#newest = worker;
      this.#lastReady = await starting;
    } catch (error) {
      worker.kill("could not be started");
      await worker.ended;
      throw error;
    }
    if (quic.isLeftOut !== withoutQuic) {
      // Left out while it started: it ends before anybody has seen it.
      worker.kill(LEAVING_QUIC_OUT);
      return worker;
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
    for (;;) {
      const end: ProcessEnd = await worker.ended;
      const endedMs = performance.now();
      this.#current = undefined;
      this.#lastEnd = end.reason;
      if (signal.aborted) return;
      worker = await this.#replace(end);
      if (worker === undefined) return;
      this.#init.observer.dataPlaneReplaced(end.reason, performance.now() - endedMs);
    }
  }

  /** Undefined: the slot is stopped. */
  async #replace(end: ProcessEnd): Promise<RunningWorker | undefined> {
    const { logger, number, quic } = this.#init;
    const { signal } = this.#stopping;
    let mayBeQuic = true;
    for (let reason = end.reason; ;) {
      const nowMs = performance.now();
      const { pauseMs, endCount } = this.#policy.ended(nowMs);
      const when = pauseMs === 0 ? "now" : `in ${pauseMs / 1000} s`;
      logger.error(
        { worker: number, endCount },
        `data-plane process ${number} ${reason}: another one is started ${when}, and what it was moving is asked for again`,
      );
      if (mayBeQuic) quic.ended(nowMs);
      await pause(pauseMs, signal);
      if (signal.aborted) return undefined;
      try {
        const worker = await this.#start();
        if (!signal.aborted) return worker;
        await worker.stop();
        return undefined;
      } catch (error) {
        if (signal.aborted) return undefined;
        reason = `could not be started: ${messageOf(error)}`;
        this.#lastEnd = reason;
        // What the system has no room for has not loaded a library.
        mayBeQuic = codeOf(error) !== "ERR_DATA_PLANE";
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
