import type { PieceHedging } from "../data-plane/data-plane.ts";
import type { Takeover } from "../data-plane/relay/hedged-piece.ts";
import type { Supplier } from "../data-plane/relay/supplier.ts";
import type { Parent } from "./parent.ts";
import type { PieceView } from "./judge-hedge.ts";

/** Rates are means over so long, at least; looked at no more often than this. Milliseconds. */
const RATE_MS = 1_000;
const MARK_MS = 100;
/** Whoever is asked for a piece is waited for, which is told sooner than this. Milliseconds. */
const ROOM_MS = 1_000;
/** Share of its time that a piece waits for the network when it is the network that is slow. */
const STARVED_SHARE = 0.7;

/** Who may bring a piece. */
export type Source = Parent | "origin";

/** A part of a piece that came from one source. */
export interface Share {
  readonly source: Source;
  /** Bytes of the piece that it brought first. */
  readonly length: number;
  /** From the request to the last of them. Milliseconds. */
  readonly durationMs: number;
  /** Pieces in flight from it, this one included, when it was asked. */
  readonly concurrency: number;
}

/** One who has been asked for a piece, and has neither failed nor been left. */
interface Asked {
  readonly source: Source;
  readonly askedMs: number;
  /** As in `Share`. */
  readonly concurrency: number;
  readonly release: () => void;
}

/** Hears what a piece in flight has to say. */
export interface PieceRunEvents {
  /** Bytes have come. */
  progressed(length: number, source: Source | undefined): void;
  /** Somebody sends it now; whoever sent it before has been left. `doubled` bytes come a second time. */
  tookOver(about: { readonly left: Share | undefined; readonly doubled: number }): void;
  /** A source failed; who is to be asked in its place, if anybody. */
  failed(source: Source, error: Error): Supplier | undefined;
  changed(): void;
}

/**
 * One piece in flight: whom it has been asked of, whom it comes from, how it gets on. Its clock is the control process's; for how long bytes
 * are waited for it is told, so that a slow disk is not held against anybody.
 */
export class PieceRun implements PieceHedging {
  readonly number: number;
  /** Bytes. */
  readonly length: number;
  readonly startedMs: number;
  /** Ends it. */
  readonly stop: AbortController = new AbortController();
  /** Its bytes may come from several sources. */
  readonly isMixable: boolean;
  /** Times that somebody else was asked for it. */
  hedgeCount = 0;
  readonly #now: () => number;
  readonly #events: PieceRunEvents;
  readonly #asked = new Map<number, Asked>();
  /** All that have ever been asked, by their numbers. */
  readonly #sources: Source[] = [];
  readonly #tried = new Set<Source>();
  /** Bytes of the piece by who brought them. */
  readonly #lengths = new Map<Source, number>();
  #failureCount = 0;
  #current: number | undefined;
  #offer: ((supplier: Supplier) => void) | undefined;
  #position = 0;
  /** Where the bytes of the present source begin, and when it took over. */
  #takenAt = 0;
  #takenMs: number;
  #askedMs: number;
  #movedMs: number;
  #silentMs = 0;
  #waitedMs = 0;
  #marks: { readonly ms: number; readonly position: number; readonly waitedMs: number }[] = [];

  constructor(options: {
    readonly number: number;
    readonly length: number;
    readonly isMixable: boolean;
    readonly now: () => number;
    readonly events: PieceRunEvents;
  }) {
    this.number = options.number;
    this.length = options.length;
    this.isMixable = options.isMixable;
    this.#now = options.now;
    this.#events = options.events;
    this.startedMs = options.now();
    this.#takenMs = this.startedMs;
    this.#askedMs = this.startedMs;
    this.#movedMs = this.startedMs;
  }

  /** Whom it comes from; undefined: nobody has announced it. */
  get source(): Source | undefined {
    return this.#current === undefined ? undefined : this.#asked.get(this.#current)?.source;
  }

  /** Those who have been asked, and have neither failed nor been left. */
  get asked(): readonly Source[] {
    return [...this.#asked.values()].map(({ source }) => source);
  }

  /** All that have ever been asked. */
  get tried(): ReadonlySet<Source> {
    return this.#tried;
  }

  /** Bytes that are there by who brought them, in the order in which they began to. */
  get lengths(): ReadonlyMap<Source, number> {
    return this.#lengths;
  }

  /** Times that a source failed. */
  get failureCount(): number {
    return this.#failureCount;
  }

  /** Bytes that are there. */
  get position(): number {
    return this.#position;
  }

  /** Another one can be asked at this moment: somebody fetches it. */
  get isFetched(): boolean {
    return this.#offer !== undefined;
  }

  /** It has been taken up, and nobody has been asked for it yet: there is no room for it in memory. */
  get awaitsRoom(): boolean {
    if (!this.isFetched || this.#silentMs > 0 || this.source !== undefined) return false;
    return this.#failureCount === 0 && this.#now() - this.#movedMs >= ROOM_MS;
  }

  /** For how long its bytes, or its announcement, have been waited for in vain. Milliseconds. */
  get silentMs(): number {
    return this.#silentMs;
  }

  /** When a byte of it last came, wanted or not, or it was begun; on the clock that was given. */
  get movedMs(): number {
    return this.#movedMs;
  }

  /** When a source that has been asked was, on the clock that was given. */
  askedMsOf(source: Source): number | undefined {
    return [...this.#asked.values()].find((each) => each.source === source)?.askedMs;
  }

  /** A source is asked. Returns the number that it goes under. */
  ask(source: Source): number {
    const id = this.#sources.push(source) - 1;
    this.#tried.add(source);
    this.#engage(id, source);
    return id;
  }

  /** Has what is missing asked of somebody else as well, who has been given a number by `ask`. */
  hedge(supplier: Supplier): void {
    this.#offer?.(supplier);
  }

  /** Looks at the clock: call it a few times a second. */
  look(): void {
    const ms = this.#now();
    const last = this.#marks.at(-1);
    if (last !== undefined && ms - last.ms < MARK_MS) return;
    this.#marks.push({ ms, position: this.#position, waitedMs: this.#waitedMs });
    while ((this.#marks[1]?.ms ?? Infinity) <= ms - RATE_MS) this.#marks.shift();
  }

  view(): PieceView {
    const now = this.#now();
    const [since] = this.#marks;
    const elapsedMs = Math.max(now - (since?.ms ?? now), 1);
    const waitedMs = this.#waitedMs - (since?.waitedMs ?? 0);
    const sources = this.source === undefined ? this.asked : [this.source];
    return {
      isAnnounced: this.source !== undefined,
      silentMs: this.#silentMs,
      sinceAskedMs: now - this.#askedMs,
      sinceTakenMs: now - this.#takenMs,
      rate: (this.#position - (since?.position ?? 0)) / elapsedMs,
      isStarved: waitedMs >= STARVED_SHARE * elapsedMs,
      remaining: this.length - this.#position,
      hedgeCount: this.hedgeCount,
      isSuspect: sources.some((source) => source !== "origin" && source.host.isSuspect),
    };
  }

  /** Nobody fetches it any more. What the last one brought; undefined: nobody brought anything. */
  end(): Share | undefined {
    const share = this.#share();
    for (const { release } of this.#asked.values()) release();
    this.#asked.clear();
    return share;
  }

  received(length: number): void {
    const { source } = this;
    this.#position += length;
    this.#movedMs = this.#now();
    this.#silentMs = 0;
    if (source !== undefined) this.#lengths.set(source, (this.#lengths.get(source) ?? 0) + length);
    this.#events.progressed(length, source);
  }

  began(offer: (supplier: Supplier) => void): void {
    this.#offer = offer;
    this.#movedMs = this.#now();
    this.#events.changed();
  }

  lost(nextId: number): void {
    this.#offer = undefined;
    this.#current = undefined;
    for (const id of this.#asked.keys()) if (id !== nextId) this.#letGo(id);
    const next = this.#sources[nextId];
    // It may have failed before.
    if (next !== undefined && !this.#asked.has(nextId)) this.#engage(nextId, next);
    // It is written from its start again.
    this.#movedMs = this.#now();
    this.#position = 0;
    this.#takenAt = 0;
    this.#silentMs = 0;
    this.#lengths.clear();
    this.#marks = [];
    this.#events.changed();
  }

  tookOver(id: number, { doubled, latestId }: Takeover): void {
    if (!this.#asked.has(id)) return;
    const left = this.#current === id ? undefined : this.#share();
    // Those who were asked since then have not been let go of.
    for (const other of this.#asked.keys()) {
      if (other !== id && other <= latestId) this.#letGo(other);
    }
    this.#current = id;
    this.#takenAt = this.#position;
    this.#takenMs = this.#now();
    this.#movedMs = this.#takenMs;
    this.#silentMs = 0;
    this.#marks = [];
    this.look();
    this.#events.tookOver({ left, doubled });
  }

  passedOver(id: number): void {
    if (!this.#asked.has(id) || this.#current === id) return;
    this.#letGo(id);
    this.#events.changed();
  }

  failed(id: number, error: Error): Supplier | undefined {
    const asked = this.#asked.get(id);
    if (asked === undefined) return undefined;
    this.#letGo(id);
    if (this.#current === id) this.#current = undefined;
    this.#failureCount += 1;
    return this.#events.failed(asked.source, error);
  }

  /** They bring it no further, but whoever sends them is there. */
  doubled(): void {
    this.#movedMs = this.#now();
    this.#silentMs = 0;
    this.#events.progressed(0, this.source);
  }

  waited(ms: number): void {
    this.#silentMs += ms;
    this.#waitedMs += ms;
  }

  #engage(id: number, source: Source): void {
    const release = source === "origin" ? () => {} : engage(source);
    const concurrency = source === "origin" ? 1 : source.inFlight;
    this.#askedMs = this.#now();
    this.#asked.set(id, { source, askedMs: this.#askedMs, concurrency, release });
  }

  #letGo(id: number): void {
    this.#asked.get(id)?.release();
    this.#asked.delete(id);
  }

  #share(): Share | undefined {
    const current = this.#current === undefined ? undefined : this.#asked.get(this.#current);
    if (current === undefined) return undefined;
    const { source, askedMs, concurrency } = current;
    const length = this.#position - this.#takenAt;
    return { source, length, durationMs: this.#now() - askedMs, concurrency };
  }
}

function engage(parent: Parent): () => void {
  parent.inFlight += 1;
  const free = parent.host.asked();
  return () => {
    parent.inFlight -= 1;
    free();
  };
}
