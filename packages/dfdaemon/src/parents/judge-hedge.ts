/** Nothing at all for so long: another one is asked as well. Milliseconds. */
const SILENT_MS = 3_000;
/** The same when nothing else is left to wait for, and another parent has it. */
const TAIL_SILENT_MS = 1_500;
/** The same of a host that has failed others of late. */
const SUSPECT_SILENT_MS = 1_500;
/** The same before the origin is asked, where no parent can be. */
const ORIGIN_SILENT_MS = 5_000;
/** Before that a transfer has not shown what it can do; the second one when nothing else is left to wait for. Milliseconds. */
const CRAWL_AFTER_MS = 2_000;
const TAIL_CRAWL_AFTER_MS = 1_000;
/** What is over so soon is not worth another request; the second one likewise. Milliseconds. */
const SOON_MS = 2_000;
const TAIL_SOON_MS = 500;
/** Another parent must give a piece so many times as much; the second one likewise. */
const GAIN = 4;
const TAIL_GAIN = 2;
/** What would take so long is tried with a parent of which nothing is known; and at the origin. Milliseconds. */
const EXPLORE_LEFT_MS = 10_000;
const ORIGIN_LEFT_MS = 30_000;
/** What crawls everywhere is not helped by one more request. */
export const HEDGES_OF_PIECE_MAX = 3;

/** A piece in flight. */
export interface PieceView {
  /** Somebody has announced it: what is waited for is bytes. */
  readonly isAnnounced: boolean;
  /** For how long whoever writes it has waited in vain. Milliseconds. */
  readonly silentMs: number;
  /** Since the last time somebody was asked. Milliseconds. */
  readonly sinceAskedMs: number;
  /** Since whoever sends it now began to. Milliseconds. */
  readonly sinceTakenMs: number;
  /** Bytes a millisecond of late. */
  readonly rate: number;
  /** Of late it has waited for the network and not for the disk. */
  readonly isStarved: boolean;
  /** Bytes that have not come. */
  readonly remaining: number;
  readonly hedgeCount: number;
  /** Whoever sends it has failed others of late. */
  readonly isSuspect: boolean;
}

/** Who else has it. */
export interface HedgeChoice {
  /** The best parent that could take a piece more, and what it would give it, in bytes a millisecond; undefined: nobody has measured it. */
  readonly parent?: { readonly rate: number | undefined } | undefined;
  /** It may be asked. */
  readonly origin: boolean;
  /** Nothing is left to begin: what is late now is what everybody waits for. */
  readonly isTail: boolean;
}

/** Why a piece is asked of somebody else as well. */
export type HedgeReason = "unannounced" | "silent" | "crawled";

export interface Hedge {
  readonly to: "parent" | "origin";
  readonly reason: HedgeReason;
}

/**
 * Whether what is missing of a piece is to be asked of somebody else as well. A parent offers what it has, so an announcement that does not
 * come is as bad as bytes that do not come. Another parent first; the origin where no parent can be asked.
 */
export function judgeHedge(piece: PieceView, choice: HedgeChoice): Hedge | undefined {
  if (piece.remaining === 0 || piece.hedgeCount >= HEDGES_OF_PIECE_MAX) return undefined;
  const isWaitedFor = choice.isTail && choice.parent !== undefined;
  const patienceMs = Math.min(patienceWith(piece), isWaitedFor ? TAIL_SILENT_MS : Infinity);
  // Whoever was asked last gets his time, too: longer for each, since where everybody is slow one more question makes it worse.
  if (piece.sinceAskedMs < patienceMs * 2 ** piece.hedgeCount) return undefined;
  if (piece.silentMs >= patienceMs) {
    const reason = piece.isAnnounced ? "silent" : "unannounced";
    if (choice.parent !== undefined) return { to: "parent", reason };
    const isDue = choice.origin && piece.silentMs >= ORIGIN_SILENT_MS;
    return isDue ? { to: "origin", reason } : undefined;
  }
  const to = whoIsFaster(piece, choice);
  return to === undefined ? undefined : { to, reason: "crawled" };
}

/** How long a piece may be silent before that is held against whoever sends it. Milliseconds. */
export function patienceWith({ isSuspect }: Pick<PieceView, "isSuspect">): number {
  return isSuspect ? SUSPECT_SILENT_MS : SILENT_MS;
}

function whoIsFaster(piece: PieceView, choice: HedgeChoice): Hedge["to"] | undefined {
  const { isTail, parent, origin } = choice;
  const { rate, remaining } = piece;
  // What does not come at all is silent, which is another matter.
  if (!piece.isAnnounced || !piece.isStarved || rate === 0) return undefined;
  if (piece.sinceTakenMs < (isTail ? TAIL_CRAWL_AFTER_MS : CRAWL_AFTER_MS)) return undefined;
  const leftMs = remaining / rate;
  if (leftMs < (isTail ? TAIL_SOON_MS : SOON_MS)) return undefined;
  if (parent !== undefined) {
    const isFaster =
      parent.rate === undefined
        ? leftMs >= EXPLORE_LEFT_MS
        : parent.rate >= (isTail ? TAIL_GAIN : GAIN) * rate;
    return isFaster ? "parent" : undefined;
  }
  return origin && leftMs >= ORIGIN_LEFT_MS ? "origin" : undefined;
}
