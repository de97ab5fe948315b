import { setTimeout as sleep } from "node:timers/promises";

import type { StorageContext } from "./context.ts";
import { readScrubCursor, type ScrubCursor, writeScrubCursor } from "./scrub-cursor.ts";
import type { StoredTask } from "./storage.ts";

export interface ScrubOptions {
  /** Read in a second, over time; above 0. */
  readonly bytesPerSecond: number;
  /** While it says so, a tenth of that is read. */
  readonly isBusy?: () => boolean;
  /** Ends it; nothing is lost. */
  readonly signal: AbortSignal;
  /** Called for each piece that was looked at. */
  readonly onPiece?: (piece: { readonly length: number; readonly isGood: boolean }) => void;
  /** Called each time that everything has been looked at. */
  readonly onPass?: () => void;
  /** Resolves after so many milliseconds, or early when the signal aborts. Default: the system's timers. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What is to be looked at. */
export interface ScrubbedStorage {
  readonly context: StorageContext;
  /** Every task on disk, in no order. */
  taskIds(): Iterable<string>;
  /** Undefined: it has been deleted meanwhile. */
  load(taskId: string): Promise<StoredTask | undefined>;
}

/**
 * Reads every piece on disk slowly, one after the other, again and again, to find what stat does not show: bits that have flipped on the
 * disk, edits without a trace. What does not match is withdrawn, and so fetched anew when it is next wanted.
 *
 * The order is that of task ids, and how far it is is on the disk: a new start goes on there, what is deleted or comes is no matter, and
 * nothing has to be remembered for each task. A pass begins once a day at most. Resolves when `signal` aborts.
 */
export async function scrub(storage: ScrubbedStorage, options: ScrubOptions): Promise<void> {
  await new Scrub(storage, options).run();
}

class Scrub {
  readonly #storage: ScrubbedStorage;
  readonly #options: ScrubOptions;
  #cursor: ScrubCursor | undefined;
  #savedAtMs = 0;

  constructor(storage: ScrubbedStorage, options: ScrubOptions) {
    this.#storage = storage;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { context } = this.#storage;
    const { signal, onPass } = this.#options;
    this.#cursor = await readScrubCursor(context);
    let hasLooked = false;
    while (!signal.aborted) {
      const nowMs = context.clock.now();
      this.#cursor ??= { taskId: "", pieceNumber: 0, passStartedAtMs: nowMs };
      const { passStartedAtMs, taskId, pieceNumber } = this.#cursor;
      const next = this.#nextTaskId(taskId);
      if (next !== undefined) {
        hasLooked = true;
        await this.#lookAt(next, next === taskId ? pieceNumber : 0);
        continue;
      }
      if (hasLooked) onPass?.();
      hasLooked = false;
      await this.#save();
      // A clock that was set back must not keep it waiting for years.
      const waitMs = passStartedAtMs + PASS_INTERVAL_MS - nowMs;
      await this.#pause(Math.min(PASS_INTERVAL_MS, Math.max(waitMs, RETRY_MS)));
      if (!signal.aborted) this.#cursor = undefined;
    }
    await this.#save();
  }

  /** The first one from there on that has not been looked at to its end; "" is before all others. */
  #nextTaskId(from: string): string | undefined {
    let next: string | undefined;
    for (const taskId of this.#storage.taskIds())
      if (taskId >= from && (next === undefined || taskId < next)) next = taskId;
    return next;
  }

  async #lookAt(taskId: string, firstNumber: number): Promise<void> {
    const { signal } = this.#options;
    try {
      const task = await this.#storage.load(taskId);
      const numbers = [...(task?.pieces.keys() ?? [])].toSorted((a, b) => a - b);
      for (const number of numbers) {
        if (number < firstNumber) continue;
        this.#moveTo(taskId, number);
        if (task !== undefined) await this.#verify(task, number);
        if (signal.aborted) return;
        await this.#saveNowAndThen();
      }
    } catch (error) {
      if (signal.aborted) return;
      // Its journal cannot be read, or it was deleted: whoever wants it is told. The others go on.
      this.#storage.context.logger.warn({ taskId, err: error }, "task cannot be scrubbed");
      await this.#pause(RETRY_MS);
      if (signal.aborted) return;
    }
    // Nothing lies between this and the next id.
    this.#moveTo(`${taskId}~`, 0);
  }

  async #verify(task: StoredTask, number: number): Promise<void> {
    const { signal, onPiece } = this.#options;
    const length = task.pieces.get(number)?.length ?? 0;
    const bad = await task.verify([number], {
      signal,
      pace: async (count) => await this.#pause((count * 1000) / this.#rate()),
    });
    onPiece?.({ length, isGood: bad.length === 0 });
  }

  #rate(): number {
    const { bytesPerSecond, isBusy } = this.#options;
    return isBusy?.() === true ? bytesPerSecond / 10 : bytesPerSecond;
  }

  #moveTo(taskId: string, pieceNumber: number): void {
    const passStartedAtMs = this.#cursor?.passStartedAtMs ?? 0;
    this.#cursor = { taskId, pieceNumber, passStartedAtMs };
  }

  async #saveNowAndThen(): Promise<void> {
    if (this.#storage.context.clock.now() - this.#savedAtMs >= SAVE_INTERVAL_MS) await this.#save();
  }

  async #save(): Promise<void> {
    const { context } = this.#storage;
    this.#savedAtMs = context.clock.now();
    if (this.#cursor === undefined) return;
    await writeScrubCursor(context, this.#cursor).catch((error: unknown) => {
      context.logger.warn({ err: error }, "how far the scrub is cannot be written down");
    });
  }

  async #pause(ms: number): Promise<void> {
    const { signal, pause = pauseBySystem } = this.#options;
    await pause(ms, signal);
  }
}

async function pauseBySystem(ms: number, signal: AbortSignal): Promise<void> {
  // An abort is no failure of a pause.
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}

const PASS_INTERVAL_MS = 24 * 3600 * 1000;
const SAVE_INTERVAL_MS = 60_000;
const RETRY_MS = 1_000;
