import {
  type ByteRange,
  type PieceDownload,
  type PieceInfo,
  type PieceRequest,
} from "@damselfly/transport";
import { DaemonError } from "../../errors.ts";
import type { Origin } from "../../origins/origin.ts";
import { toError } from "../../to-error.ts";
import { assertAnnounced, type WantedPiece } from "../assert-announced.ts";
import type { PieceTransports } from "../piece-transports.ts";
import { LOOK_MS } from "./progress.ts";
import { type Leg, RelayedContent } from "./relayed-content.ts";
import { isSamePiece } from "./same-piece.ts";
import { nameOf, type OriginSupplier, type ParentSupplier, type Supplier } from "./supplier.ts";

/** Longer between two looks is this process's own fault. Milliseconds. */
const LOOK_MS_MAX = 2 * LOOK_MS;

/** Who decides whom a piece comes from hears through it how that goes. */
export interface HedgeObserver {
  /** The piece, or its rest from `offset` on, comes from this supplier now; all others up to `about.latestId` have been let go of. */
  tookOver(id: number, about: Takeover): void;
  /** A supplier that was named is not asked: another one had announced the piece, or nothing of it was missing. */
  passedOver(id: number): void;
  /**
   * A supplier was asked in vain, or broke off. What is returned is asked next; with nobody left who is asked, the piece has failed, with
   * what the last one said.
   */
  failed(id: number, error: Error): Supplier | undefined | PromiseLike<Supplier | undefined>;
  /** Whoever takes the bytes has waited so long for them since the last call. Called several times a second while that is so. Milliseconds. */
  waited(ms: number): void;
  /** Bytes came that were there already, so many: whom they come from is not silent. */
  doubled(length: number): void;
}

export interface Takeover {
  /** The first byte of the piece that the supplier is to bring. */
  readonly offset: number;
  /** So many bytes before it come a second time. */
  readonly doubled: number;
  /** The highest number of a supplier that was known here by then: who is named meanwhile will be asked. */
  readonly latestId: number;
}

/** Nobody decides: it comes from the first one, or not at all. */
export const NO_HEDGING: HedgeObserver = {
  tookOver() {},
  passedOver() {},
  failed: () => undefined,
  waited() {},
  doubled() {},
};

export interface HedgedPieceInit {
  readonly wanted: WantedPiece;
  /** Other protocols may be tried out with this piece. */
  readonly mayTry: boolean;
  readonly transports: Pick<PieceTransports, "downloadPiece">;
  readonly origin: Pick<Origin, "readRange">;
  readonly observer: HedgeObserver;
  readonly signal: AbortSignal;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

/** What was announced, and by whom. */
export interface Announcement {
  /** With an empty digest where it is the origin's, which has none. */
  readonly piece: PieceInfo;
  readonly supplier: Supplier;
}

/**
 * A piece that several suppliers may bring, one after the other. When one does not announce it, falls silent, crawls or breaks off, the
 * rest is asked of another one, from the byte on that is wanted next; whoever announces it first goes on, if it is the same piece.
 *
 * Who else is asked, and when, is decided elsewhere: `offer`. Nothing is checked here but announcements. The digest tells whether the whole
 * is right, not who of several was wrong.
 */
export class HedgedPiece implements AsyncDisposable {
  readonly content: AsyncIterable<Uint8Array>;
  readonly #init: HedgedPieceInit;
  readonly #now: () => number;
  readonly #relay: RelayedContent<Supplier>;
  readonly #openedAt: number;
  readonly #timer: NodeJS.Timeout;
  #announced: Announcement | undefined;
  #announcedAt: number | undefined;
  #toldWaitedMs = 0;
  #latestId = -1;

  constructor(init: HedgedPieceInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#openedAt = this.#now();
    const { wanted, observer } = init;
    this.#relay = new RelayedContent<Supplier>({
      pieceNumber: wanted.number,
      range: { offset: 0, length: wanted.length },
      signal: init.signal,
      now: this.#now,
      ask: (supplier, range, signal) => this.#ask(supplier, range, signal),
      failed: (supplier, error) => this.#failed(supplier, toError(error)),
      passedOver: ({ id }) => observer.passedOver(id),
      tookOver: (leg) => this.#tookOver(leg),
      doubled: (length) => observer.doubled(length),
      ended: () => {
        clearInterval(this.#timer);
        this.#tellWaited();
      },
    });
    this.content = this.#relay;
    this.#timer = setInterval(() => this.#tellWaited(), LOOK_MS).unref();
  }

  /**
   * Asks for the piece. Resolves when it has been announced.
   *
   * @throws what the last supplier said that was asked in vain; the signal's reason
   */
  async open(first: Supplier): Promise<Announcement> {
    this.#know(first);
    await this.#relay.open(first);
    return this.announcement;
  }

  /** What was announced first; once it is open. */
  get announcement(): Announcement {
    return this.#announced!;
  }

  /** Somebody else who has the piece is asked, too, for what is missing of it. */
  offer(supplier: Supplier): void {
    this.#know(supplier);
    this.#relay.ask(supplier);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }

  async #ask(
    supplier: Supplier,
    range: ByteRange,
    signal: AbortSignal,
  ): Promise<Omit<Leg<Supplier>, "source">> {
    const askedAt = this.#now();
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    // Who knows no ranges sends all of it again, which is seen to come.
    const isWhole = supplier.kind === "parent" && supplier.address.plain === true;
    const offset = isWhole ? 0 : range.offset;
    try {
      const download =
        supplier.kind === "parent"
          ? await this.#askParent(supplier, { ...range, offset }, controller.signal)
          : await this.#askOrigin(supplier, range, controller.signal);
      return { download, controller, offset, askedAt, announcedAt: this.#now() };
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #askParent(
    supplier: ParentSupplier,
    range: ByteRange,
    signal: AbortSignal,
  ): Promise<PieceDownload> {
    const { wanted, transports, mayTry } = this.#init;
    const request: PieceRequest = {
      taskId: wanted.taskId,
      pieceNumber: wanted.number,
      expectedLength: wanted.length,
      ...(range.offset === 0 ? {} : { range }),
    };
    const { address } = supplier;
    const download = await transports.downloadPiece(address, request, {
      signal,
      // The rest of a piece is for whoever is known to bring it.
      mayTry: mayTry && range.offset === 0,
    });
    try {
      assertAnnounced(download.piece, wanted, address.hostId);
      const before = this.#announced;
      if (before !== undefined && !isSamePiece(before.piece, download.piece))
        throw disagreement(wanted, supplier, before.supplier);
      return download;
    } catch (error) {
      await download[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #askOrigin(
    { request, expected }: OriginSupplier,
    range: ByteRange,
    signal: AbortSignal,
  ): Promise<PieceDownload> {
    const { wanted, origin } = this.#init;
    const { number, length } = wanted;
    const place = { offset: wanted.offset + range.offset, length: range.length };
    const body = await origin.readRange(request, place, expected, { signal });
    return {
      piece: { number, offset: wanted.offset, length, digest: "" },
      content: body.content,
      [Symbol.asyncDispose]: () => body[Symbol.asyncDispose](),
    };
  }

  async #failed(supplier: Supplier, error: Error): Promise<Supplier | undefined> {
    const other = await this.#init.observer.failed(supplier.id, error);
    if (other !== undefined) this.#know(other);
    return other;
  }

  #know({ id }: Supplier): void {
    this.#latestId = Math.max(this.#latestId, id);
  }

  #tookOver({ source: supplier, offset, download }: Leg<Supplier>): void {
    this.#tellWaited();
    this.#announced ??= { piece: download.piece, supplier };
    this.#announcedAt ??= this.#now();
    const doubled = this.#relay.position - offset;
    this.#init.observer.tookOver(supplier.id, {
      offset: this.#relay.position,
      doubled,
      latestId: this.#latestId,
    });
  }

  /** Until the announcement everybody waits; from then on, whoever reads says so. */
  #tellWaited(): void {
    const untilAnnouncedMs = (this.#announcedAt ?? this.#now()) - this.#openedAt;
    const waitedMs = untilAnnouncedMs + this.#relay.waitedMs;
    const newMs = waitedMs - this.#toldWaitedMs;
    if (newMs < 1) return;
    this.#toldWaitedMs = waitedMs;
    // What counts is how often it was looked in vain: when this process does not get to run, nobody else can be blamed.
    this.#init.observer.waited(Math.min(newMs, LOOK_MS_MAX));
  }
}

function disagreement(wanted: WantedPiece, supplier: Supplier, before: Supplier): DaemonError {
  return new DaemonError(
    "ERR_SUPPLIERS_DIFFER",
    `Cannot go on with piece ${wanted.number} from ${nameOf(supplier)}: it announces another digest than ${nameOf(before)}`,
  );
}
