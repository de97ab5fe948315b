import {
  type ByteRange,
  type PieceDownload,
  type PieceInfo,
  type Protocol,
  TransportError,
} from "@damselfly/transport";
import type { Move } from "./judge-run.ts";
import { LOOK_MS, Progress } from "./progress.ts";

/** A piece that crawls everywhere is not helped by one more request. */
const MOVE_COUNT_MAX = 3;

/** A piece as it comes over one protocol, or the rest of one. */
export interface Leg {
  readonly protocol: Protocol;
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
export interface LegEnd {
  readonly protocol: Protocol;
  /** Bytes that it brought and that were used. */
  readonly length: number;
  /** From the request to the end. Milliseconds. */
  readonly durationMs: number;
  /** From the announcement to the end: without what a new connection takes. Milliseconds. */
  readonly contentMs: number;
  /** `whole`: to the end of the piece; `left`: another one took over; `broken`: see `error`; `given up`: by the consumer. */
  readonly how: "whole" | "left" | "broken" | "given up";
  readonly error?: unknown;
}

export interface MovingPieceInit {
  readonly first: Leg;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Asks for the rest of the piece over another protocol. Resolves when it is announced. */
  readonly ask: (protocol: Protocol, range: ByteRange, signal: AbortSignal) => Promise<Leg>;
  /** Looked at while it runs: where else the rest should be asked for. */
  readonly judge: (piece: MovingPiece) => Move | undefined;
  /** Where the rest may be had after a failure; undefined: nowhere, and the failure is the piece's. */
  readonly rescue: (piece: MovingPiece, error: unknown) => Protocol | undefined;
  /** The rest has been asked for elsewhere. */
  readonly onMove: (move: Move, piece: MovingPiece) => void;
  readonly onLegEnd: (end: LegEnd, piece: MovingPiece) => void;
  /** Bytes came a second time, over another protocol. */
  readonly onDoubled: (length: number) => void;
  /** Nothing runs any more. */
  readonly onEnd: () => void;
}

/**
 * A piece whose content may come over several protocols, one after the other. Where one crawls or breaks off, the
 * rest is asked for over another from the byte on that was wanted next; until that is announced, the first goes on.
 */
export class MovingPiece implements PieceDownload {
  readonly piece: PieceInfo;
  readonly content: AsyncIterable<Uint8Array>;
  readonly #init: MovingPieceInit;
  #leg: Leg;
  /** The leg whose end has been told. */
  #ended: Leg | undefined;
  #progress: Progress;
  #chunks: AsyncIterator<Uint8Array> | undefined;
  /** Where the next byte for the consumer lies. */
  #position = 0;
  /** Bytes of the leg that others have brought already. */
  #surplus = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The rest, asked for elsewhere. */
  #next:
    | { readonly leg: Promise<Leg | undefined>; readonly controller: AbortController }
    | undefined;
  /** Protocols that failed with this piece. */
  readonly #spent = new Set<Protocol>();
  #moveCount = 0;
  #wakeAsked: () => void = () => {};
  #isOver = false;

  constructor(init: MovingPieceInit) {
    this.#init = init;
    this.#leg = init.first;
    this.piece = init.first.download.piece;
    this.#progress = new Progress(init.now);
    this.content = { [Symbol.asyncIterator]: () => this.#read() };
    init.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (init.signal.aborted) this.#onAbort();
  }

  get protocol(): Protocol {
    return this.#leg.protocol;
  }

  get progress(): Progress {
    return this.#progress;
  }

  get remaining(): number {
    return this.piece.length - this.#position;
  }

  /** Protocols that need not be asked again for this piece. */
  get spent(): ReadonlySet<Protocol> {
    return this.#spent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#finish("given up");
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
    try {
      while (this.remaining > 0) {
        const chunk = await this.#pull();
        if (chunk.byteLength > 0) yield chunk;
      }
      // The last byte is not the end: whoever reads it may still be told that the piece is damaged.
      await this.#pullEnd();
      await this.#finish("whole");
    } catch (error) {
      await this.#finish("broken", error);
      throw error;
    } finally {
      await this.#finish("given up");
    }
  }

  /** The next bytes; none where they had come before. */
  async #pull(): Promise<Uint8Array> {
    this.#chunks ??= this.#leg.download.content[Symbol.asyncIterator]();
    this.#progress.waits();
    const pulling = this.#chunks.next();
    try {
      const pulled = await this.#untilMoved(pulling);
      if (pulled === "moved") return EMPTY;
      if (pulled.done === true) throw this.#endedEarly();
      return this.#take(pulled.value);
    } catch (error) {
      await this.#rescue(error);
      return EMPTY;
    }
  }

  async #pullEnd(): Promise<void> {
    this.#chunks ??= this.#leg.download.content[Symbol.asyncIterator]();
    const { done } = await this.#chunks.next();
    if (done !== true) throw this.#endedEarly();
  }

  #take(chunk: Uint8Array): Uint8Array {
    this.#progress.arrived(chunk.byteLength);
    const doubled = Math.min(this.#surplus, chunk.byteLength);
    if (doubled > 0) this.#init.onDoubled(doubled);
    this.#surplus -= doubled;
    this.#position += chunk.byteLength - doubled;
    return chunk.subarray(doubled);
  }

  /** What is pulled, or the news that the rest comes over another leg now. */
  async #untilMoved(
    pulling: Promise<IteratorResult<Uint8Array>>,
  ): Promise<IteratorResult<Uint8Array> | "moved"> {
    for (;;) {
      const next = this.#next;
      const news = next === undefined ? this.#asked() : next.leg.then((leg) => ({ leg }));
      const first = await Promise.race([pulling, news]);
      if (first === undefined) continue; // asked elsewhere meanwhile
      if (!("leg" in first)) return first;
      this.#next = undefined;
      if (first.leg === undefined) continue; // that came to nothing
      pulling.catch(() => undefined); // its leg is ended
      await this.#goOnWith(first.leg);
      return "moved";
    }
  }

  /** Resolves when the rest has been asked for elsewhere. */
  #asked(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#wakeAsked = () => resolve(undefined);
    });
  }

  #look(): void {
    this.#progress.look();
    if (this.#next !== undefined || this.#isOver || this.#moveCount >= MOVE_COUNT_MAX) return;
    const move = this.#init.judge(this);
    if (move === undefined) return;
    this.#moveCount += 1;
    this.#init.onMove(move, this);
    this.#askElsewhere(move.to);
  }

  #askElsewhere(protocol: Protocol): void {
    const controller = new AbortController();
    const offset = this.#position;
    const range = { offset, length: this.remaining };
    const leg = this.#init.ask(protocol, range, controller.signal).then(
      (found) => {
        if (isSamePiece(found.download.piece, this.piece)) return found;
        this.#spent.add(protocol);
        return discard(found);
      },
      () => {
        this.#spent.add(protocol); // `ask` has told whom it concerns; the first leg goes on
        return undefined;
      },
    );
    this.#next = { leg, controller };
    this.#wakeAsked();
  }

  /** Goes on elsewhere after a failure. @throws the failure, where there is no elsewhere */
  async #rescue(error: unknown): Promise<void> {
    this.#init.signal.throwIfAborted();
    if (this.#isOver) throw error;
    this.#endLeg("broken", error);
    this.#spent.add(this.#leg.protocol);
    if (this.#next === undefined) {
      const protocol = this.#init.rescue(this, error);
      if (protocol === undefined) throw error;
      this.#askElsewhere(protocol);
    }
    const leg = await this.#next?.leg;
    this.#next = undefined;
    this.#init.signal.throwIfAborted();
    if (leg === undefined) throw error;
    await this.#goOnWith(leg);
  }

  async #goOnWith(leg: Leg): Promise<void> {
    const before = this.#leg;
    this.#endLeg("left");
    this.#leg = leg;
    this.#chunks = undefined;
    this.#surplus = this.#position - leg.offset;
    this.#progress = new Progress(this.#init.now);
    await discard(before);
  }

  #endLeg(how: LegEnd["how"], error?: unknown): void {
    if (this.#ended === this.#leg) return;
    this.#ended = this.#leg;
    const { protocol, askedAt, announcedAt } = this.#leg;
    const { received: length } = this.#progress;
    const now = this.#init.now();
    const times = { durationMs: now - askedAt, contentMs: now - announcedAt };
    const end = { protocol, length, ...times, how };
    this.#init.onLegEnd(error === undefined ? end : { ...end, error }, this);
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#init.signal;
    this.#leg.controller.abort(reason);
    this.#next?.controller.abort(reason);
  };

  async #finish(how: LegEnd["how"], error?: unknown): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#init.signal.removeEventListener("abort", this.#onAbort);
    this.#endLeg(how, error);
    this.#init.onEnd();
    const next = this.#next;
    if (next !== undefined) {
      next.controller.abort(new TransportError("ERR_CLOSED", "The piece came another way"));
      void next.leg.then((leg) => leg && discard(leg));
    }
    await discard(this.#leg);
  }

  #endedEarly(): TransportError {
    const { number, length } = this.piece;
    return new TransportError(
      "ERR_PIECE_TRUNCATED",
      `Cannot read piece ${number}: it ended after ${this.#position} of ${length} bytes`,
    );
  }
}

const EMPTY = new Uint8Array(0);

async function discard({ download, controller }: Leg): Promise<undefined> {
  controller.abort(new TransportError("ERR_CLOSED", "The piece comes another way"));
  await download[Symbol.asyncDispose]();
}

function isSamePiece(one: PieceInfo, other: PieceInfo): boolean {
  return (
    one.number === other.number &&
    one.offset === other.offset &&
    one.length === other.length &&
    one.digest === other.digest
  );
}
