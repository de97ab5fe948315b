import type { BufferPool } from "./buffer-pool.ts";
import { checkPiece } from "./check-piece.ts";
import { systemCode, toStorageError } from "./errors.ts";
import type { PieceRecord } from "./storage.ts";
import type { TaskContent } from "./task-content.ts";

/** Whose pieces are looked at. */
export interface VerifiedTask {
  readonly taskId: string;
  readonly content: TaskContent;
  /** Live. */
  readonly pieces: ReadonlyMap<number, PieceRecord>;
  /** Has the content checked if stat shows a reason to. @throws {StorageError} `ERR_TASK_GONE` */
  check(): Promise<void>;
  /** A piece read in `epoch` did not match. */
  withdraw(record: PieceRecord, epoch: number): Promise<void>;
}

/** As `StoredTask.verify` has it. */
export class PieceVerifier {
  readonly #task: VerifiedTask;
  readonly #pool: BufferPool;
  /** Pieces that are being looked at, by number, by somebody in a hurry. */
  readonly #running = new Map<number, Promise<boolean>>();

  constructor(task: VerifiedTask, pool: BufferPool) {
    this.#task = task;
    this.#pool = pool;
  }

  async verify(
    pieceNumbers: Iterable<number>,
    options: {
      readonly signal?: AbortSignal;
      readonly pace?: (length: number) => Promise<void>;
    },
  ): Promise<readonly number[]> {
    const { signal, pace } = options;
    const bad: number[] = [];
    for (const number of pieceNumbers) {
      signal?.throwIfAborted();
      // Who is in a hurry does not wait for who is not.
      const isGood =
        pace === undefined
          ? await this.#verifyOnce(number)
          : await this.#verify(number, async (length) => {
              await pace(length);
              signal?.throwIfAborted();
            });
      if (!isGood) bad.push(number);
    }
    return bad;
  }

  /** Several askers at once have it read once. */
  async #verifyOnce(number: number): Promise<boolean> {
    const running = this.#running.get(number);
    if (running !== undefined) return await running;
    const verifying = this.#verify(number);
    this.#running.set(number, verifying);
    try {
      return await verifying;
    } finally {
      this.#running.delete(number);
    }
  }

  /** False: the piece was there, and is not any more. */
  async #verify(number: number, pace?: (length: number) => Promise<void>): Promise<boolean> {
    const { content, pieces } = this.#task;
    for (;;) {
      await this.#task.check();
      const record = pieces.get(number);
      if (record === undefined) return true;
      const { epoch } = content;
      if (await this.#isGood(record, pace)) return true;
      if (epoch === content.epoch) await this.#task.withdraw(record, epoch);
      if (pieces.get(number) !== record) return false;
    }
  }

  async #isGood(
    record: PieceRecord,
    pace: ((length: number) => Promise<void>) | undefined,
  ): Promise<boolean> {
    const file = await this.#task.content.acquire();
    try {
      return await checkPiece(record, { source: file.handle, pool: this.#pool, pace });
    } catch (error) {
      if (systemCode(error) === undefined) throw error; // Ours, or the signal's.
      throw toStorageError(`read piece ${record.number} of task ${this.#task.taskId}`, error);
    } finally {
      file.release();
    }
  }
}
