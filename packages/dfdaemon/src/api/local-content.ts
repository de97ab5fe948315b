import { once } from "node:events";
import { ByteBudget, type Clock, type Reservation, SYSTEM_CLOCK } from "@damselfly/limits";
import { status } from "@damselfly/rpc";
import type { PieceRecord, StoredTask } from "@damselfly/storage";

/** The content itself, and the message that carries it. */
const COPY_COUNT = 2;

/** How long a piece waits for others to be taken: programs that read at all are through with what they have by then. Milliseconds. */
const PATIENCE_MS = 60_000;

/** Pieces on their way to programs on this node, in memory: only so much at once, over all calls. */
export class LocalContent {
  readonly #budget: ByteBudget;
  readonly #clock: Clock;

  /** @param lengthMax in bytes; one piece that takes more goes alone */
  constructor(lengthMax: number, clock: Clock = SYSTEM_CLOCK) {
    this.#budget = new ByteBudget(lengthMax);
    this.#clock = clock;
  }

  get usedLength(): number {
    return this.#budget.usedLength;
  }

  /** @param taken resolves when all that was sent has been taken, or never will be */
  openCall(taken: () => Promise<void>): CallContent {
    return new CallContent({ budget: this.#budget, clock: this.#clock, taken });
  }
}

/** What one call is answered with, a piece after the other: a server asks for one when all are taken but the last. */
export class CallContent implements Disposable {
  readonly #budget: ByteBudget;
  readonly #clock: Clock;
  readonly #taken: () => Promise<void>;
  #last: Reservation | undefined;
  #oneBefore: Reservation | undefined;

  constructor(parts: {
    readonly budget: ByteBudget;
    readonly clock: Clock;
    readonly taken: () => Promise<void>;
  }) {
    this.#budget = parts.budget;
    this.#clock = parts.clock;
    this.#taken = parts.taken;
  }

  /**
   * Reads a whole piece, when there is memory for it.
   *
   * @throws {StorageError} as `StoredTask.readPiece`
   * @throws {RpcError} `RESOURCE_EXHAUSTED` when there is none for long
   * @throws the signal's reason
   */
  async read(
    task: Pick<StoredTask, "readPiece">,
    piece: PieceRecord,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const length = piece.length * COPY_COUNT;
    this.#oneBefore?.release();
    const room = this.#budget.tryReserve(length) ?? (await this.#wait(length, signal));
    this.#oneBefore = this.#last;
    this.#last = room;
    try {
      return await task.readPiece(piece.number);
    } catch (error) {
      // Nothing is handed over, so what was handed over last still is the last.
      room.release();
      this.#last = this.#oneBefore;
      this.#oneBefore = undefined;
      throw error;
    }
  }

  /** Gives all of it back, once it is taken. */
  [Symbol.dispose](): void {
    void this.#taken().then(() => this.#release());
  }

  async #wait(length: number, signal: AbortSignal): Promise<Reservation> {
    const late = new AbortController();
    const stop = this.#clock.after(PATIENCE_MS, () => late.abort(tooLate()));
    const waiting = AbortSignal.any([signal, late.signal]);
    try {
      waiting.throwIfAborted();
      // Nobody holds something and waits for more: all could, and none would get it.
      await Promise.race([this.#taken(), once(waiting, "abort")]);
      waiting.throwIfAborted();
      this.#release();
      return await this.#budget.reserve(length, waiting);
    } finally {
      stop();
    }
  }

  #release(): void {
    this.#oneBefore?.release();
    this.#last?.release();
    this.#oneBefore = this.#last = undefined;
  }
}

function tooLate(): Error {
  const seconds = PATIENCE_MS / 1000;
  return status(
    "RESOURCE_EXHAUSTED",
    `contents were not taken for ${seconds} s, here or by other programs on this node, and there is no memory for more (dataPlane.memoryLimit)`,
  );
}
