import { RpcError, type SchedulerClient } from "@damselfly/rpc";
import type { Lack, Storage, StorageUsage } from "@damselfly/storage";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { pause } from "../pause.ts";
import {
  planEviction,
  type Eviction,
  type EvictionPlan,
  type EvictionPolicy,
} from "./plan-eviction.ts";

/** How often what is chosen turns out to be in use, and is chosen anew. */
const ROUNDS_MAX = 4;
/** A download that needs room waits so long for what is in use at this moment: three seconds. */
const ROOM_POLL_MS = 200;
const ROOM_ATTEMPTS_MAX = 15;
/** For a scheduler that is told that a task has left this host. Milliseconds. */
const SCHEDULER_CALL_MS = 10_000;

/** What became of one run. */
export interface Collected {
  readonly evicted: readonly Eviction[];
  /** See `EvictionPlan`. */
  readonly shortBytes: number;
  /** Something was in use that might have gone otherwise. */
  readonly isBusy: boolean;
}

export interface CacheGcOptions {
  readonly storage: Storage;
  readonly policy: EvictionPolicy;
  /** Between two runs. */
  readonly intervalMs: number;
  /** Hears of each task that is not here any more. */
  readonly scheduler:
    | { clientsFor(taskId: string): readonly Pick<SchedulerClient, "deleteTask">[] }
    | undefined;
  readonly hostId: string;
  readonly now?: () => number;
  readonly logger: Logger;
  readonly observer?: {
    evicted(eviction: Eviction): void;
    /** After each look at the files. */
    looked(usage: StorageUsage): void;
  };
}

/** Keeps the cache within its bounds: at the start, every now and then, and when a task needs room. One run at a time. */
export class CacheGc implements AsyncDisposable {
  readonly #options: CacheGcOptions;
  readonly #stop = new AbortController();
  /** Ends when the last run asked for has. */
  #running: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #telling: Promise<void> = Promise.resolve();
  /** What could not be deleted, by what is wrong with it: a newer version's, mostly. It is said once. */
  readonly #failures = new Map<string, string>();
  #isShort = false;

  constructor(options: CacheGcOptions) {
    this.#options = options;
  }

  get policy(): EvictionPolicy {
    return this.#options.policy;
  }

  /** Runs now, and then at each interval until disposed. */
  start(): void {
    this.#loop ??= this.#runAgainAndAgain();
  }

  /** @throws {StorageError} if it cannot be seen what is there */
  async collect(): Promise<Collected> {
    return await this.#run(undefined);
  }

  /** What `collect` would delete. @throws {StorageError} */
  async preview(): Promise<EvictionPlan> {
    const { storage } = this.#options;
    const usage = await this.#look();
    const readable = new Set((await storage.listTasks()).map(({ facts }) => facts.taskId));
    const unreadable = usage.tasks.filter(({ taskId }) => !readable.has(taskId)).map(idOf);
    return this.#plan(usage, new Set(unreadable), undefined);
  }

  /** For a task that does not fit. True: something was deleted. */
  async makeRoom(lack: Lack): Promise<boolean> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        const { evicted, isBusy } = await this.#run(lack);
        if (evicted.length > 0) return true;
        // A download that has just ended is wound up in the background, and can go in a moment.
        if (!isBusy || attempt === ROOM_ATTEMPTS_MAX || this.#stop.signal.aborted) return false;
        await pause(ROOM_POLL_MS, this.#stop.signal);
      }
    } catch (error) {
      this.#options.logger.warn({}, `no room could be made: ${messageOf(error)}`);
      return false;
    }
  }

  /** Tells the scheduler of this task that it is not here any more, in the background. */
  tellGone(taskId: string): void {
    this.#telling = this.#telling.then(() => this.#tell(taskId));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#running.catch(() => undefined); // Told to whoever asked.
    await this.#telling;
  }

  async #runAgainAndAgain(): Promise<void> {
    const { intervalMs, logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.collect().catch((error: unknown) => {
        logger.warn({}, `the cache could not be looked at: ${messageOf(error)}`);
      });
      await pause(intervalMs, signal);
    }
  }

  async #run(need: Lack | undefined): Promise<Collected> {
    const run = this.#running.catch(() => undefined).then(() => this.#collect(need));
    this.#running = run;
    return await run;
  }

  async #collect(need: Lack | undefined): Promise<Collected> {
    const evicted: Eviction[] = [];
    const kept = new Set<string>();
    let shortBytes = 0;
    let isBusy = false;
    for (let round = 1; round <= ROUNDS_MAX; round += 1) {
      const usage = await this.#look();
      // What somebody needs is met by the first round, or by nobody.
      const plan = this.#plan(usage, kept, round === 1 ? need : undefined);
      shortBytes = plan.shortBytes;
      isBusy = usage.tasks.some((task) => task.busy && !task.pinned);
      const keptBefore = kept.size;
      for (const eviction of plan.evictions) {
        if (this.#stop.signal.aborted) return { evicted, shortBytes, isBusy };
        if (await this.#evict(eviction, kept)) evicted.push(eviction);
      }
      if (kept.size === keptBefore) break;
    }
    this.#report(evicted, shortBytes);
    return { evicted, shortBytes, isBusy };
  }

  async #look(): Promise<StorageUsage> {
    const usage = await this.#options.storage.usage();
    this.#options.observer?.looked(usage);
    return usage;
  }

  #plan(usage: StorageUsage, kept: ReadonlySet<string>, need: Lack | undefined): EvictionPlan {
    const { policy, now = Date.now } = this.#options;
    const tasks = usage.tasks.map((task) =>
      kept.has(task.taskId) ? { ...task, busy: true } : task,
    );
    return planEviction({ ...usage, tasks }, policy, { nowMs: now(), ...(need && { need }) });
  }

  async #evict(eviction: Eviction, kept: Set<string>): Promise<boolean> {
    const { storage, observer, logger } = this.#options;
    const { taskId } = eviction;
    try {
      const outcome = await storage.evictTask(taskId);
      if (outcome === "evicted") {
        observer?.evicted(eviction);
        this.tellGone(taskId);
        return true;
      }
      kept.add(taskId);
    } catch (error) {
      kept.add(taskId);
      const message = messageOf(error);
      if (this.#failures.get(taskId) !== message)
        logger.warn({ taskId }, `a task cannot be evicted: ${message}`);
      this.#failures.set(taskId, message);
    }
    return false;
  }

  #report(evicted: readonly Eviction[], shortBytes: number): void {
    const { logger } = this.#options;
    if (evicted.length > 0) {
      const bytes = evicted.reduce((sum, each) => sum + each.bytes, 0);
      const expired = evicted.filter(({ reason }) => reason === "expired").length;
      logger.info(
        { evicted: evicted.length, expired, bytes, tasks: evicted.slice(0, 10).map(idOf) },
        `evicted ${evicted.length} of the tasks stored here, ${bytes} bytes: ${expired} unused for too long, ${evicted.length - expired} to make room`,
      );
    }
    const isShort = shortBytes > 0;
    if (isShort && !this.#isShort)
      logger.warn(
        { shortBytes },
        `the cache should give back ${shortBytes} bytes more, and has nothing left to give: the rest is pinned, in use, or not the cache's; ` +
          "see dfdaemon cache list, gc.policy and storage.dir",
      );
    this.#isShort = isShort;
  }

  async #tell(taskId: string): Promise<void> {
    const { scheduler, hostId, logger } = this.#options;
    const { signal } = this.#stop;
    const [client] = scheduler?.clientsFor(taskId) ?? [];
    if (client === undefined || signal.aborted) return;
    try {
      await client.deleteTask({ hostId, taskId }, { signal, timeoutMs: SCHEDULER_CALL_MS });
    } catch (error) {
      // It has forgotten the task, or finds out from the next child that asks here in vain.
      if (signal.aborted || (error instanceof RpcError && error.code === "NOT_FOUND")) return;
      logger.debug(
        { taskId },
        `the scheduler could not be told of an eviction: ${messageOf(error)}`,
      );
    }
  }
}

function idOf({ taskId }: { readonly taskId: string }): string {
  return taskId;
}
