import {
  clipByteRange,
  type PieceReader,
  type PieceRequest,
  TransportError,
} from "@damselfly/transport";

import { isPieceOf } from "./check-piece.ts";
import type { StorageContext } from "./context.ts";
import { ContentDigests } from "./content-digests.ts";
import { StorageError, systemCode, toStorageError } from "./errors.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { IncomingContent } from "./incoming-content.ts";
import { Interrupter } from "./interrupter.ts";
import type { Journal } from "./journal.ts";
import { type JournalRecord, type JournalState, pieceCountOf } from "./journal-format.ts";
import type { OpenFile } from "./open-files.ts";
import { assertPlaceable, placeOutput } from "./output.ts";
import type { TaskPaths } from "./paths.ts";
import { StoredPieceReader } from "./piece-reader.ts";
import { PieceVerifier, type VerifiedTask } from "./piece-verifier.ts";
import { assertRange, type ByteRange, readContent } from "./read-content.ts";
import type {
  ContentSender,
  LocatedPiece,
  OutputMethod,
  OutputOptions,
  PieceChange,
  PieceDraft,
  PieceRecord,
  StoredTask,
  TaskFacts,
} from "./storage.ts";
import { type ContentOwner, TaskContent } from "./task-content.ts";
import { TaskUse } from "./task-use.ts";
import { WantedDigests } from "./wanted-digests.ts";

/**
 * A task as the storage holds it: which pieces are there, who writes and reads them, and what the journal says of it.
 * A state machine: usable, then gone; unsealed, sealed, unsealed again when a piece is withdrawn.
 */
export class TaskOnDisk implements StoredTask, ContentOwner, VerifiedTask {
  readonly content: TaskContent;
  readonly #context: StorageContext;
  readonly #journal: Journal;
  readonly #pieces: Map<number, PieceRecord>;
  /** Pieces on their way in. A second writer waits for the first. */
  readonly #writing = new Map<number, Promise<PieceRecord>>();
  readonly #verifier: PieceVerifier;
  readonly #listeners = new Set<(change: PieceChange) => void>();
  readonly #interrupter = new Interrupter();
  readonly #digests: ContentDigests;
  #facts: TaskFacts;
  #sealed: boolean;
  #gone: StorageError | undefined;
  readonly #use: TaskUse;

  constructor(options: {
    readonly paths: TaskPaths;
    readonly context: StorageContext;
    readonly journal: Journal;
    readonly state: JournalState & { readonly facts: TaskFacts };
    /** Of one that was there before. */
    readonly usedAtMs?: number;
  }) {
    const { state } = options;
    this.#context = options.context;
    this.#journal = options.journal;
    this.#facts = state.facts;
    this.#pieces = state.pieces;
    this.#sealed = state.sealed;
    this.#use = new TaskUse(options.context.clock, options.usedAtMs ?? state.facts.createdAtMs);
    this.content = new TaskContent({
      owner: this,
      paths: options.paths,
      context: options.context,
      fingerprint: state.fingerprint,
    });
    this.#verifier = new PieceVerifier(this, options.context.readBuffers);
    this.#digests = new ContentDigests(this, options.context);
  }

  get facts(): TaskFacts {
    return this.#facts;
  }

  get taskId(): string {
    return this.#facts.taskId;
  }

  get length(): number {
    return this.#facts.contentLength;
  }

  get pieceLength(): number {
    return this.#facts.pieceLength;
  }

  get pieceCount(): number {
    return pieceCountOf(this.#facts);
  }

  get pieces(): ReadonlyMap<number, PieceRecord> {
    return this.#pieces;
  }

  get complete(): boolean {
    return this.#pieces.size === this.pieceCount;
  }

  get sealed(): boolean {
    return this.#sealed;
  }

  get uploadingCount(): number {
    return this.#use.uploadingCount;
  }

  get uploadedCount(): number {
    return this.#use.uploadedCount;
  }

  get usedAtMs(): number {
    return this.#use.usedAtMs;
  }

  /** It is being fetched, served or handed out: not to be evicted. */
  get busy(): boolean {
    return this.#use.busy || this.#writing.size > 0;
  }

  /** Bytes that are still to come while somebody fetches them: space that is as good as taken. */
  get reservedLength(): number {
    return this.#use.isFetched ? this.missingLength : 0;
  }

  /** As `TaskUse` has it. */
  get isPromised(): boolean {
    return this.#use.isPromised;
  }

  /** Bytes of the pieces that are not there. */
  get missingLength(): number {
    let present = 0;
    for (const piece of this.#pieces.values()) present += piece.length;
    return this.length - present;
  }

  bounds(pieceNumber: number): ByteRange {
    if (!Number.isInteger(pieceNumber) || pieceNumber < 0 || pieceNumber >= this.pieceCount) {
      throw new RangeError(
        `Cannot find piece ${pieceNumber}: task ${this.taskId} has ${this.pieceCount} pieces`,
      );
    }
    const offset = pieceNumber * this.#facts.pieceLength;
    return { offset, length: Math.min(this.#facts.pieceLength, this.length - offset) };
  }

  /** Numbers of the pieces that have any of these bytes. */
  *piecesOf({ offset, length }: ByteRange): Generator<number, void, undefined> {
    const first = Math.floor(offset / this.#facts.pieceLength);
    const end = Math.ceil((offset + length) / this.#facts.pieceLength);
    for (let number = first; number < end; number++) yield number;
  }

  async writePiece(
    draft: PieceDraft,
    content: AsyncIterable<Uint8Array> | ContentSender,
  ): Promise<PieceRecord> {
    this.bounds(draft.number);
    for (;;) {
      this.assertUsable();
      const running = this.#writing.get(draft.number);
      if (running === undefined) break;
      await this.#interrupter.wait(running.catch(() => undefined)); // Its failure is its caller's.
    }

    // Nothing is awaited before this, so whoever calls later finds it.
    const writing = this.#writeUnlessPresent(draft, content);
    this.#writing.set(draft.number, writing);
    try {
      return await writing;
    } finally {
      this.#writing.delete(draft.number);
    }
  }

  onChange(listener: (change: PieceChange) => void): () => void {
    const own = (change: PieceChange): void => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  async seal(): Promise<void> {
    await this.#handOut(() => this.#seal());
  }

  async #seal(): Promise<void> {
    for (;;) {
      await this.check();
      if (this.#sealed) return;
      this.#assertPresent({ offset: 0, length: this.length });
      await this.content.synced(async (fingerprint) => {
        if (!this.complete || this.#sealed) return;
        const state = { facts: this.#facts, pieces: this.#pieces, sealed: true, fingerprint };
        await this.#journal.rewrite(state).catch((error: unknown) => {
          throw this.#failed("seal", error);
        });
        this.#sealed = this.complete;
      });
    }
  }

  read(range?: ByteRange): AsyncIterable<Uint8Array> {
    const wanted = range ?? { offset: 0, length: this.length };
    assertRange(wanted, this.length);
    return this.#read(wanted);
  }

  async *#read(range: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    const release = this.#use.handOut();
    const pool = this.#context.readBuffers;
    const assertPresent = (part: ByteRange): void => this.#assertPresent(part);
    const end = range.offset + range.length;
    let position = range.offset;
    let repeatedAt: number | undefined;
    try {
      for (;;) {
        const rest = { offset: position, length: end - position };
        try {
          for await (const chunk of readContent(this.content, rest, { pool, assertPresent })) {
            yield chunk;
            position += chunk.byteLength;
          }
          return;
        } catch (error) {
          const failed = { offset: position, length: Math.min(pool.length, end - position) };
          if (!(await this.#canBeReadNow(error, failed)) || repeatedAt === position) throw error;
          repeatedAt = position;
        }
      }
    } finally {
      release();
      this.#use.touch();
    }
  }

  /**
   * A sector that cannot be read is as good as missing, for who reads content here as for who serves it: a piece that is written there anew
   * can be read again, mostly. One that can be read the second time has lost nothing.
   *
   * @returns whether the failure was about a sector that has been read now
   * @throws {StorageError} `ERR_PIECE_MISSING` if it was about one that still cannot
   */
  async #canBeReadNow(failure: unknown, range: ByteRange): Promise<boolean> {
    if (!(failure instanceof StorageError) || systemCode(failure.cause) !== "EIO") return false;
    let bad: readonly number[];
    try {
      bad = await this.verify(this.piecesOf(range));
    } catch {
      return false; // The first failure is the one to tell.
    }
    if (bad.length === 0) return true;
    throw new StorageError(
      "ERR_PIECE_MISSING",
      `Cannot read piece ${bad.join(", ")} of task ${this.taskId}: the disk does not give it`,
      { cause: failure },
    );
  }

  async readPiece(pieceNumber: number): Promise<Uint8Array> {
    const bounds = this.bounds(pieceNumber);
    const record = this.#pieces.get(pieceNumber);
    const { epoch } = this.content;
    const content = Buffer.allocUnsafeSlow(bounds.length);
    let length = 0;
    for await (const chunk of this.read(bounds)) {
      content.set(chunk, length);
      length += chunk.byteLength;
    }
    if (record === undefined || isPieceOf(record, content)) return content;
    await this.withdraw(record, epoch);
    throw new StorageError(
      "ERR_PIECE_MISSING",
      `Cannot read ${this.#describe(record)}: what is on disk does not match its digest`,
    );
  }

  verify(
    pieceNumbers: Iterable<number>,
    options: Parameters<StoredTask["verify"]>[1] = {},
  ): Promise<readonly number[]> {
    return this.#verifier.verify(pieceNumbers, options);
  }

  async digest(algorithm: string, options?: Parameters<StoredTask["digest"]>[1]): Promise<string> {
    return await this.#digests.digest(algorithm, options);
  }

  expectDigest(algorithm: string): void {
    this.#digests.expect(algorithm);
  }

  async deny(pieces: readonly PieceRecord[]): Promise<void> {
    this.assertUsable();
    const denied = pieces.filter((piece) => this.#pieces.get(piece.number) === piece);
    if (denied.length === 0) return;
    for (const { number } of denied) this.#forgetPiece(number, { isDenied: true });
    const numbers = denied.map(({ number }) => number);
    this.#context.logger.warn(
      { taskId: this.taskId, pieceNumbers: numbers },
      "pieces are denied: withdrawn",
    );
    // All at once: what is recorded in their place from now on comes after them in the journal.
    await Promise.all(numbers.map((number) => this.#append({ type: "withdrawn", number }))).catch(
      (error: unknown) => {
        this.assertUsable();
        throw this.#failed("drop a piece of", error);
      },
    );
    await this.#syncWithdrawals();
  }

  output(path: string, options: OutputOptions = {}): Promise<OutputMethod> {
    return this.#handOut(async () => {
      const method = await placeOutput(this, path, { ...options, context: this.#context });
      this.#use.touch();
      return method;
    });
  }

  assertOutput(path: string, options: OutputOptions = {}): Promise<void> {
    return assertPlaceable(this, path, { ...options, context: this.#context });
  }

  /** As `TaskUse` has it. */
  expectRetain(): void {
    this.#use.expectRetain();
  }

  retain(): () => void {
    return this.#use.retain();
  }

  /** Not to be evicted until what is returned is called, though nobody fetches it. */
  hold(): () => void {
    return this.#use.handOut();
  }

  /** As `PieceSource.openPiece` has it. */
  async openPiece(request: PieceSelection, signal?: AbortSignal): Promise<PieceReader> {
    const [located, file] = await this.#locate(request, signal);
    return new StoredPieceReader({ located, file, pool: this.#context.readBuffers });
  }

  /** As `Storage.locatePiece` has it. */
  async locatePiece(request: PieceSelection, signal?: AbortSignal): Promise<LocatedPiece> {
    const [located, file] = await this.#locate(request, signal);
    file.release();
    return located;
  }

  async #locate(
    { pieceNumber: number, range }: PieceSelection,
    signal: AbortSignal | undefined,
  ): Promise<[LocatedPiece, OpenFile]> {
    for (;;) {
      signal?.throwIfAborted();
      await this.check();
      const { epoch } = this.content;
      const record = this.#pieces.get(number);
      if (record !== undefined) {
        const part = clipByteRange(range, record.length);
        const file = await this.content.acquire();
        if (epoch === this.content.epoch) return [this.#serve(record, part, file.ino), file];
        file.release();
        continue;
      }
      const running = this.#writing.get(number);
      if (running === undefined) {
        throw new TransportError(
          "ERR_PIECE_NOT_FOUND",
          `Cannot open piece ${number} of task ${this.taskId}: it is not here`,
        );
      }
      await this.#waitFor(running, signal);
    }
  }

  /** Has the content checked if it may have changed. @throws {StorageError} `ERR_TASK_GONE` */
  async check(): Promise<void> {
    this.assertUsable();
    await this.content.check();
  }

  /** Takes over what may differ between two askers for the same bytes. */
  async adopt(facts: TaskFacts): Promise<void> {
    const adopted = { ...facts, createdAtMs: this.#facts.createdAtMs };
    if (JSON.stringify(adopted) === JSON.stringify(this.#facts)) return;
    this.#facts = adopted;
    await this.#append({ type: "facts", facts: adopted }).catch((error: unknown) => {
      // They are the last asker's: a disk that takes nothing more still gives what it has, and after a restart the earlier ones are as good.
      const fields = { taskId: this.taskId, err: error };
      this.#context.logger.warn(fields, "journal takes no other facts");
    });
  }

  /** From here on every method throws `reason`; writers are interrupted and waited for. */
  async abandon(reason: StorageError): Promise<void> {
    this.#gone ??= reason;
    this.#interrupter.interrupt(this.#gone);
    this.#digests.forget();
    await Promise.allSettled(this.#writing.values());
  }

  /** Removes everything but a journal set aside. The journal goes first: content alone means nothing. */
  async remove(): Promise<void> {
    await this.content.remove(() => this.#journal.remove());
  }

  async assertReadable(): Promise<void> {
    await this.check();
    this.#assertPresent({ offset: 0, length: this.length });
  }

  /** It was abandoned: every method throws. */
  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  assertUsable(): void {
    if (this.#gone !== undefined) throw this.#gone;
  }

  async dropPieces(numbers: readonly number[]): Promise<void> {
    for (const number of numbers) {
      await this.#append({ type: "withdrawn", number }).catch((error: unknown) => {
        throw this.#failed("drop a piece of", error);
      });
      this.#forgetPiece(number);
    }
    await this.#syncWithdrawals();
  }

  async recordFingerprint(fingerprint: Fingerprint): Promise<void> {
    const { size, mtimeNs, ctimeNs, ino } = fingerprint;
    try {
      await this.#append({
        type: "fingerprint",
        fingerprint: { size, mtimeNs, ctimeNs, ino },
      });
    } catch (error) {
      // The next start finds the file changed and checks it once more: slow, but right.
      this.#context.logger.warn(
        { taskId: this.taskId, err: error },
        "journal takes no fingerprint",
      );
    }
  }

  /** So that the next start knows which tasks were used last. What a kill takes of that is at most what came after the last call. */
  async writeDownUse(): Promise<void> {
    const usedAtMs = this.#use.takeUnwritten();
    if (usedAtMs === undefined) return;
    await this.#journal.touch(usedAtMs).catch((error: unknown) => {
      const fields = { taskId: this.taskId, err: error };
      this.#context.logger.warn(fields, "last use of a task cannot be written down");
    });
  }

  /** Makes what is there survive the next start without a check. For an orderly stop, after `abandon`. */
  async settle(): Promise<void> {
    if (this.#sealed || this.#pieces.size === 0) return;
    await this.content.settle();
    await this.#journal.sync();
  }

  async #writeUnlessPresent(
    draft: PieceDraft,
    content: AsyncIterable<Uint8Array> | ContentSender,
  ): Promise<PieceRecord> {
    await this.check();
    return this.#pieces.get(draft.number) ?? (await this.#write(draft, content));
  }

  async #write(
    draft: PieceDraft,
    content: AsyncIterable<Uint8Array> | ContentSender,
  ): Promise<PieceRecord> {
    const startedAtMs = this.#context.clock.now();
    await using incoming = new IncomingContent(content, this.#interrupter);
    const { offset, length } = this.bounds(draft.number);
    const wanted = new WantedDigests(draft, this.#context.pieceDigest);
    const file = await this.content.beginWrite();
    let record: PieceRecord | undefined;
    // Written to until it is recorded: what looks after the pieces of a file that has changed meanwhile knows those on record only.
    try {
      const digests = await this.#receive(draft, incoming, { file, algorithms: wanted.algorithms });
      const wrong = wanted.findWrong(digests);
      if (wrong !== undefined) {
        throw new StorageError(
          "ERR_DIGEST_MISMATCH",
          `Cannot record ${this.#describe(draft)}: its digest is ${wrong.found}, expected ${wrong.expected}`,
        );
      }
      const nowMs = this.#context.clock.now();
      record = await this.#record({
        number: draft.number,
        offset,
        length,
        ...wanted.toRecord(digests),
        trafficType: draft.trafficType,
        parentId: draft.parentId,
        costMs: Math.max(0, nowMs - startedAtMs),
        createdAtMs: nowMs,
      });
    } finally {
      try {
        await this.content.endWrite(file);
      } finally {
        if (record !== undefined) this.#recorded(record);
      }
    }
    return record;
  }

  /** Has the content written to its place and returns its digests, in that order. */
  async #receive(
    draft: PieceDraft,
    incoming: IncomingContent,
    { file, algorithms }: { readonly file: OpenFile; readonly algorithms: readonly string[] },
  ): Promise<readonly string[]> {
    const { offset, length } = this.bounds(draft.number);
    const { path } = this.content;
    const action = `write ${this.#describe(draft)}`;
    const target = { path, ino: file.ino, offset, length, algorithms, action };
    const pool = this.#context.writeBuffers;
    return await incoming.receive(target, { handle: file.handle, pool });
  }

  async #record(piece: PieceRecord): Promise<PieceRecord> {
    this.assertUsable();
    await this.#append({ type: "piece", piece }).catch((error: unknown) => {
      this.assertUsable();
      throw this.#failed(`record piece ${piece.number} of`, error);
    });
    this.assertUsable();
    this.#pieces.set(piece.number, piece);
    this.#sealed = false;
    return piece;
  }

  #recorded(piece: PieceRecord): void {
    this.#digests.advance();
    this.#use.touch();
    this.#emit({ kind: "recorded", piece });
  }

  #serve(record: PieceRecord, range: ByteRange, ino: bigint): LocatedPiece {
    const { epoch, path } = this.content;
    const { number, offset, length, digest, strongDigest } = record;
    return {
      piece: { number, offset, length, digest, ...(strongDigest && { strongDigest }) },
      range,
      path,
      ino,
      end: this.#use.serve(),
      damaged: () => this.withdraw(record, epoch),
    };
  }

  /** A piece read in `epoch` did not match. If stat shows a reason, every piece is checked; else this one alone has rotted. */
  async withdraw(record: PieceRecord, epoch: number): Promise<void> {
    const { taskId } = this;
    try {
      if (this.#gone !== undefined) return;
      await this.content.check();
      if (this.content.epoch !== epoch || this.#pieces.get(record.number) !== record) return;
      this.#forgetPiece(record.number);
      this.#context.logger.warn(
        { taskId, pieceNumber: record.number },
        "piece no longer matches its digest: withdrawn",
      );
      this.#context.onDamaged({ taskId, pieceCount: 1, how: "rotten" });
      await this.#append({ type: "withdrawn", number: record.number });
      await this.#syncWithdrawals();
    } catch (error) {
      // It is out of memory's list, or will be found again; the reader fails in any case.
      this.#context.logger.warn(
        { taskId, pieceNumber: record.number, err: error },
        "withdrawal of a damaged piece is not on disk",
      );
    }
  }

  /**
   * A piece is about to be fetched to where damaged bytes lie: after a power failure the disk may have any mix of both, under a stat that
   * is the old one, and then nothing must say that it is good.
   */
  async #syncWithdrawals(): Promise<void> {
    await this.#journal.sync().catch((error: unknown) => {
      const fields = { taskId: this.taskId, err: error };
      this.#context.logger.warn(fields, "journal of withdrawn pieces cannot be synced");
    });
  }

  #append(record: JournalRecord): Promise<void> {
    return this.#journal.append(record, () => ({
      facts: this.#facts,
      pieces: this.#pieces,
      // Of what the journal said beside, nothing is known to be so.
      sealed: false,
      fingerprint: undefined,
    }));
  }

  #forgetPiece(number: number, { isDenied = false }: { readonly isDenied?: boolean } = {}): void {
    if (!this.#pieces.delete(number)) return;
    this.#sealed = false;
    this.#digests.forget();
    this.#emit({ kind: "withdrawn", pieceNumber: number, isDenied });
  }

  #emit(change: PieceChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        // What is on disk does not depend on who hears of it.
        this.#context.logger.warn({ taskId: this.taskId, err: error }, "listener of pieces failed");
      }
    }
  }

  async #waitFor(running: Promise<PieceRecord>, signal: AbortSignal | undefined): Promise<void> {
    const settled = this.#interrupter.wait(running.then(() => undefined).catch(() => undefined));
    if (signal === undefined) return await settled;
    const abort = new Interrupter();
    const onAbort = (): void => abort.interrupt(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await abort.wait(settled);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #assertPresent(range: ByteRange): void {
    for (const number of this.piecesOf(range)) {
      if (this.#pieces.has(number)) continue;
      throw new StorageError(
        "ERR_PIECE_MISSING",
        `Cannot read task ${this.taskId}: piece ${number} of ${this.pieceCount} is not here`,
      );
    }
  }

  async #handOut<T>(action: () => Promise<T>): Promise<T> {
    const end = this.#use.handOut();
    try {
      return await action();
    } finally {
      end();
    }
  }

  #describe(draft: PieceDraft): string {
    const from = draft.parentId === "" ? "the origin" : draft.parentId;
    return `piece ${draft.number} of task ${this.taskId} from ${from}`;
  }

  #failed(verb: string, error: unknown): StorageError {
    return toStorageError(`${verb} task ${this.taskId}`, error);
  }
}

type PieceSelection = Pick<PieceRequest, "pieceNumber" | "range">;
