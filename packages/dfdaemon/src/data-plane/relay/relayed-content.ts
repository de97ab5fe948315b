import { type ByteRange, type PieceDownload, TransportError } from "@damselfly/transport";
import { LOOK_MS, Progress } from "./progress.ts";

/** Bytes of a piece as they come from one source, to the end of what is wanted. */
export interface Leg<Source> {
  readonly source: Source;
  readonly download: PieceDownload;
  /** Ends it. */
  readonly controller: AbortController;
  /** Where in the piece its first byte lies. */
  readonly offset: number;
  /** When it was asked for. */
  readonly askedAt: number;
  /** When its announcement came. */
  readonly announcedAt: number;
}

/** A leg has ended, for better or worse. */
export interface LegEnd<Source> {
  readonly source: Source;
  /** Bytes that it brought, wanted or not. */
  readonly length: number;
  /** From the request to the end. Milliseconds. */
  readonly durationMs: number;
  /** From the announcement to the end: without what a new connection takes. Milliseconds. */
  readonly contentMs: number;
  /** `whole`: to the end of the piece; `left`: another one took over; `broken`: see `error`; `given up`: by the consumer. */
  readonly how: "whole" | "left" | "broken" | "given up";
  readonly error?: unknown;
}

export interface RelayedContentInit<Source> {
  /** For messages. */
  readonly pieceNumber: number;
  /** What is wanted of the piece. */
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
  /**
   * Asks a source for the rest. Resolves when it is announced, and is what it has to be; with `offset`, where the source begins
   * elsewhere than the rest does, which is not behind it.
   */
  readonly ask: (
    source: Source,
    range: ByteRange,
    signal: AbortSignal,
  ) => Promise<Omit<Leg<Source>, "source" | "offset"> & Partial<Pick<Leg<Source>, "offset">>>;
  /**
   * A source was asked in vain, or, with `isCurrent`, broke off. What it returns is asked next, unless every byte is there and bad. With nobody
   * left that is asked, what broke off is the failure of all.
   */
  readonly failed: (
    source: Source,
    error: unknown,
    about: { readonly isCurrent: boolean },
  ) => Source | undefined | PromiseLike<Source | undefined>;
  /** Called now and then while it is read. */
  readonly look?: () => void;
  /** A source that was named is not asked: another one has announced the rest, or there is none, or all is over. */
  readonly passedOver?: (source: Source) => void;
  /** From the next byte on everything comes from this leg; all others that were asked are let go of. */
  readonly tookOver?: (leg: Leg<Source>) => void;
  readonly legEnded?: (end: LegEnd<Source>) => void;
  /** Bytes came a second time. */
  readonly doubled?: (length: number) => void;
  /** Nothing runs any more. */
  readonly ended?: () => void;
}

/**
 * Content that may come from several sources, one after the other. Whoever sees it crawl, or break off, has the rest asked for elsewhere,
 * from the byte on that is wanted next; until that is announced, the one before goes on.
 *
 * A state machine: nobody has announced; one leg runs, alone or while others are asked; it has broken, and whoever is asked is waited for; over.
 *
 * No generator, and no race for each chunk: each is passed 65,536 times a GiB, twice.
 */
export class RelayedContent<Source> implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #init: RelayedContentInit<Source>;
  readonly #endOffset: number;
  #leg: Leg<Source> | undefined;
  #chunks: AsyncIterator<Uint8Array> | undefined;
  /** The leg whose end has been told. */
  #toldLeg: Leg<Source> | undefined;
  #progress: Progress;
  /** Waited for legs that are over, in milliseconds. */
  #formerWaitedMs = 0;
  /** Where in the piece the next byte for the consumer lies. */
  #position: number;
  /** Bytes of the leg that others have brought already. */
  #surplus = 0;
  /** The rest, asked for elsewhere. */
  readonly #askings = new Set<{ readonly controller: AbortController }>();
  /** Announced, and to be gone on with. */
  #arrived: Leg<Source> | undefined;
  /** What the last one said that was asked in vain. */
  #failure: unknown;
  #consumer: Consumer | undefined;
  #onNews: () => void = () => {};
  readonly #discards: Promise<void>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #over: Promise<void> | undefined;
  /** The consumer has had everything, or wants no more. */
  #isDone = false;

  constructor(init: RelayedContentInit<Source>) {
    this.#init = init;
    this.#position = init.range.offset;
    this.#endOffset = init.range.offset + init.range.length;
    this.#progress = new Progress(init.now);
    init.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (init.signal.aborted) this.#onAbort();
  }

  /** Whom the next byte comes from; undefined: nobody has announced it yet. */
  get source(): Source | undefined {
    return this.#leg?.source;
  }

  get progress(): Progress {
    return this.#progress;
  }

  /** For how long the consumer has waited for bytes, all in all. Milliseconds. */
  get waitedMs(): number {
    return this.#formerWaitedMs + this.#progress.waitedMs;
  }

  /** Where in the piece the next byte for the consumer lies. */
  get position(): number {
    return this.#position;
  }

  /** Bytes that are still to come. */
  get remaining(): number {
    return this.#endOffset - this.#position;
  }

  /** The rest has been asked for elsewhere, and is not announced yet. */
  get isAsking(): boolean {
    return this.#askings.size > 0 || this.#arrived !== undefined;
  }

  /**
   * Asks a first source, and others as `failed` names them; resolves with the first that announces.
   *
   * @throws what the last one said; the signal's reason. Then nothing runs any more
   */
  async open(source: Source): Promise<Leg<Source>> {
    this.ask(source);
    const leg = await this.#nextLeg();
    if (leg !== undefined) {
      this.begin(leg);
      return leg;
    }
    const failure = this.#failure;
    await this.#finish("broken", failure);
    this.#init.signal.throwIfAborted();
    throw failure;
  }

  /** Begins with what somebody else has asked for. */
  begin(leg: Leg<Source>): void {
    this.#leg = leg;
    this.#surplus = this.#position - leg.offset;
    this.#progress = new Progress(this.#init.now);
    this.#endAskings();
    this.#init.tookOver?.(leg);
  }

  /** Has the rest asked for elsewhere too: whoever of all that are asked announces it first goes on. Nothing if there is no rest. */
  ask(source: Source): void {
    const isWhole = this.remaining === 0 && this.#leg !== undefined;
    const isOver = this.#over !== undefined || this.#init.signal.aborted;
    if (isWhole || isOver || this.#arrived !== undefined) return this.#init.passedOver?.(source);
    const asking = { controller: new AbortController() };
    this.#askings.add(asking);
    void this.#ask(source, asking);
  }

  [Symbol.asyncIterator](): this {
    this.#timer ??= setInterval(() => {
      this.#progress.look();
      this.#init.look?.();
    }, LOOK_MS).unref();
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    return new Promise((resolve, reject) => {
      this.#consumer = { resolve, reject };
      this.#pull();
    });
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#isDone = true;
    await this.#finish("given up");
    return DONE;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#finish("given up");
  }

  #pull(): void {
    if (this.#isDone) return this.#answer(DONE);
    if (this.#arrived !== undefined) this.#moveOn(this.#arrived);
    const leg = this.#leg;
    if (leg === undefined || this.#over !== undefined) {
      void this.#fail(closed(this.#init.pieceNumber));
      return;
    }
    this.#chunks ??= leg.download.content[Symbol.asyncIterator]();
    this.#progress.waits();
    this.#chunks.next().then(
      (pulled) => {
        if (leg === this.#leg) this.#pulled(pulled);
      },
      (error: unknown) => {
        if (leg === this.#leg) void this.#broke(leg, error);
      },
    );
  }

  #pulled(pulled: IteratorResult<Uint8Array>): void {
    if (pulled.done === true) {
      if (this.remaining > 0) void this.#broke(this.#leg!, this.#endedEarly());
      else void this.#end();
      return;
    }
    const chunk = this.#take(pulled.value);
    if (chunk.byteLength > 0) this.#answer({ done: false, value: chunk });
    else this.#pull();
  }

  async #end(): Promise<void> {
    this.#isDone = true;
    await this.#finish("whole");
    this.#answer(DONE);
  }

  #take(chunk: Uint8Array): Uint8Array {
    this.#progress.arrived(chunk.byteLength);
    if (this.#surplus === 0) {
      this.#position += chunk.byteLength;
      return chunk;
    }
    const doubled = Math.min(this.#surplus, chunk.byteLength);
    this.#init.doubled?.(doubled);
    this.#surplus -= doubled;
    this.#position += chunk.byteLength - doubled;
    return chunk.subarray(doubled);
  }

  async #ask(source: Source, asking: { readonly controller: AbortController }): Promise<void> {
    const { signal } = asking.controller;
    const range = { offset: this.#position, length: this.remaining };
    try {
      const asked = await this.#init.ask(source, range, signal);
      const leg = { offset: range.offset, ...asked, source };
      if (signal.aborted) return this.#discard(leg);
      this.#askings.delete(asking);
      this.#endAskings();
      this.#arrived = leg;
    } catch (error) {
      if (signal.aborted) return;
      this.#failure = error;
      const other = await this.#whoElse(source, error, { isCurrent: false });
      if (signal.aborted) {
        if (other !== undefined) this.#init.passedOver?.(other);
        return;
      }
      if (other !== undefined) this.ask(other);
      this.#askings.delete(asking);
    }
    this.#onNews();
    // Whoever waits for a chunk has it from the new leg.
    if (this.#arrived !== undefined && this.#leg !== undefined && this.#consumer !== undefined) {
      this.#pull();
    }
  }

  /** Goes on elsewhere after a failure; the failure is that of the content where there is no elsewhere. */
  async #broke(leg: Leg<Source>, error: unknown): Promise<void> {
    const { signal } = this.#init;
    if (signal.aborted) return this.#fail(signal.reason);
    if (this.#over !== undefined) return this.#fail(error);
    this.#endLeg("broken", error);
    this.#leg = undefined;
    this.#discard(leg);
    const other = await this.#whoElse(leg.source, error, { isCurrent: true });
    // What is wrong at the end, with every byte there, is wrong with all of it.
    if (this.remaining === 0) return this.#fail(error);
    if (other !== undefined) this.ask(other);
    const next = await this.#nextLeg();
    if (signal.aborted) return this.#fail(signal.reason);
    if (next === undefined || this.#over !== undefined) return this.#fail(error);
    this.#moveOn(next);
    this.#pull();
  }

  /** Resolves with what is announced first; undefined: there is nobody who might. */
  async #nextLeg(): Promise<Leg<Source> | undefined> {
    while (this.#arrived === undefined && this.#askings.size > 0 && !this.#init.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#onNews = resolve;
      });
    }
    const leg = this.#arrived;
    this.#arrived = undefined;
    return leg;
  }

  async #whoElse(
    source: Source,
    error: unknown,
    about: { readonly isCurrent: boolean },
  ): Promise<Source | undefined> {
    try {
      return await this.#init.failed(source, error, about);
    } catch {
      return undefined; // Whoever is to say so is not there any more.
    }
  }

  #moveOn(leg: Leg<Source>): void {
    const before = this.#leg;
    this.#arrived = undefined;
    if (before !== undefined) {
      this.#endLeg("left");
      this.#discard(before);
    }
    this.#chunks = undefined;
    this.#formerWaitedMs += this.#progress.waitedMs;
    this.begin(leg);
  }

  #endLeg(how: LegEnd<Source>["how"], error?: unknown): void {
    const leg = this.#leg;
    if (leg === undefined || this.#toldLeg === leg) return;
    this.#toldLeg = leg;
    const { source, askedAt, announcedAt } = leg;
    const now = this.#init.now();
    const { received: length } = this.#progress;
    const end = {
      source,
      length,
      durationMs: now - askedAt,
      contentMs: now - announcedAt,
      how,
    };
    this.#init.legEnded?.(error === undefined ? end : { ...end, error });
  }

  #endAskings(): void {
    for (const { controller } of this.#askings) controller.abort(ELSEWHERE);
    this.#askings.clear();
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#init.signal;
    this.#leg?.controller.abort(reason);
    this.#arrived?.controller.abort(reason);
    for (const { controller } of this.#askings) controller.abort(reason);
    this.#askings.clear();
    this.#onNews();
  };

  #answer(result: IteratorResult<Uint8Array, undefined>): void {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    consumer?.resolve(result);
  }

  readonly #fail = async (error: unknown): Promise<void> => {
    await this.#finish("broken", error);
    const consumer = this.#consumer;
    this.#consumer = undefined;
    consumer?.reject(error);
  };

  #finish(how: LegEnd<Source>["how"], error?: unknown): Promise<void> {
    this.#over ??= this.#close(how, error);
    return this.#over;
  }

  async #close(how: LegEnd<Source>["how"], error: unknown): Promise<void> {
    clearInterval(this.#timer);
    this.#init.signal.removeEventListener("abort", this.#onAbort);
    this.#endLeg(how, error);
    this.#endAskings();
    this.#onNews();
    for (const leg of [this.#leg, this.#arrived]) if (leg !== undefined) this.#discard(leg);
    this.#init.ended?.();
    await Promise.all(this.#discards);
  }

  #discard({ controller, download }: Leg<Source>): void {
    controller.abort(ELSEWHERE);
    // What its close says is of no interest: it is nobody's any more.
    const discard = Promise.resolve(download[Symbol.asyncDispose]()).catch(() => undefined);
    this.#discards.push(discard);
  }

  #endedEarly(): TransportError {
    return new TransportError(
      "ERR_PIECE_TRUNCATED",
      `Cannot read piece ${this.#init.pieceNumber}: it ended after ${this.#position} of ${this.#endOffset} bytes`,
    );
  }
}

interface Consumer {
  readonly resolve: (result: IteratorResult<Uint8Array, undefined>) => void;
  readonly reject: (reason: unknown) => void;
}

const DONE: IteratorResult<Uint8Array, undefined> = { done: true, value: undefined };

/** Made once: every piece ends what else was asked for it, and nobody looks where that was. */
const ELSEWHERE = new TransportError("ERR_CLOSED", "The piece comes another way");

function closed(pieceNumber: number): TransportError {
  return new TransportError("ERR_CLOSED", `Cannot read piece ${pieceNumber}: it was given up`);
}
