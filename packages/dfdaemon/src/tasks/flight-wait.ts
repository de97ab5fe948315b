import { nameOfSource } from "../parents/piece-fetches.ts";
import type { PieceRun } from "../parents/piece-run.ts";
import type { OpenBody } from "./origin-reader.ts";
import type { Wait } from "./wait.ts";

/** Whoever got a byte so little ago does not wait. Milliseconds. */
export const MOVING_MS = 1_500;
/** A piece whose bytes are not waited for, and do not move, is held up here; by so much less is said of it that may be late. Milliseconds. */
const HELD_MS = 1_500;

/** What a download looks like from outside, as far as it may be waiting. Times are of one clock, in milliseconds. */
export interface FlightView {
  readonly nowMs: number;
  /** When a byte last came; the start, if none has. */
  readonly movedMs: number;
  /** In flight from parents. */
  readonly pieces: readonly PieceWaitView[];
  /** Undefined: it is not read. */
  readonly origin: OriginWaitView | undefined;
  readonly parents: ParentsWaitView;
  readonly scheduler: SchedulerWaitView | undefined;
  /** How long each of these may last. */
  readonly bounds: WaitBounds;
}

export interface PieceWaitView {
  readonly number: number;
  /** Whom it is asked of. */
  readonly from: readonly string[];
  /** A process fetches it. */
  readonly isFetched: boolean;
  readonly isAnnounced: boolean;
  /** As of `PieceRun`. */
  readonly awaitsRoom: boolean;
  /** For how long bytes, or the announcement, have been waited for. */
  readonly silentMs: number;
  /** When a byte of it last came; when it was asked for, if none has. */
  readonly movedMs: number;
}

export interface OriginWaitView {
  readonly inFlight: number;
  /** Those whose header has come. */
  readonly bodies: readonly OpenBody[];
  readonly sinceMs: number;
  /** It is to be left alone. */
  readonly pause: Wait | undefined;
}

export interface ParentsWaitView {
  readonly count: number;
  /** Of them, those that have said where their pieces are. */
  readonly answeredCount: number;
  /** Those that have something that is missing. */
  readonly offeringCount: number;
  /** Until when the first of these rests; in the past: none does. */
  readonly restUntilMs: number;
  /** When the last one was named. */
  readonly namedMs: number;
  /** When they are given up, if nothing comes. */
  readonly untilMs: number;
}

export interface SchedulerWaitView {
  readonly state: "asked" | "lost" | "pausing";
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Milliseconds. */
export interface WaitBounds {
  readonly announcementMs: number;
  readonly contentMs: number;
  readonly diskMs: number;
  readonly dataPlaneMs: number;
}

/** What a download waits for; undefined: something moves. */
export function describeWait(view: FlightView): Wait | undefined {
  const { nowMs, movedMs, pieces, origin } = view;
  if (nowMs - movedMs < MOVING_MS) return undefined;
  if (pieces.length > 0) return ofPieces(view) ?? ofOrigin(view);
  if ((origin?.inFlight ?? 0) > 0) return ofOrigin(view);
  return view.parents.count > 0 ? ofParents(view) : ofScheduler(view);
}

function ofPieces({ nowMs, pieces, bounds }: FlightView): Wait | undefined {
  const lost = pieces.find(({ isFetched }) => !isFetched);
  if (lost !== undefined) {
    const sinceMs = lost.movedMs;
    const description = "there has been no process to move content";
    return { reason: "data-plane", description, sinceMs, untilMs: sinceMs + bounds.dataPlaneMs };
  }
  if (pieces.every(({ awaitsRoom }) => awaitsRoom)) {
    const sinceMs = Math.max(...pieces.map((piece) => piece.movedMs));
    const description = "other downloads have had all the memory for content";
    // Up to them: they have bounds of their own.
    return { reason: "memory", description, sinceMs, untilMs: undefined };
  }
  const held = ofDisk(
    pieces.filter(({ isAnnounced }) => isAnnounced),
    { nowMs, bounds },
  );
  if (held !== undefined) return held;
  const [worst] = pieces.toSorted((one, other) => other.silentMs - one.silentMs);
  if (worst === undefined || worst.silentMs === 0) return undefined;
  const { number, from, isAnnounced, silentMs } = worst;
  const sinceMs = nowMs - silentMs;
  const names = from.join(" and ");
  const others = pieces.length > 1 ? ` (and ${pieces.length - 1} more)` : "";
  return isAnnounced
    ? {
        reason: "content",
        description: `nothing has come of piece ${number} from ${names}${others}`,
        sinceMs,
        untilMs: sinceMs + bounds.contentMs,
      }
    : {
        reason: "announcement",
        description: `${names} has not announced piece ${number}${others}`,
        sinceMs,
        untilMs: sinceMs + bounds.announcementMs,
      };
}

/** What came of these is not taken. */
function ofDisk(
  contents: readonly OpenBody[],
  { nowMs, bounds }: Pick<FlightView, "nowMs" | "bounds">,
): Wait | undefined {
  const held = contents.find(({ silentMs, movedMs }) => nowMs - movedMs - silentMs >= HELD_MS);
  if (held === undefined) return undefined;
  const sinceMs = held.movedMs;
  const description = `the disk has taken nothing more of piece ${held.number}`;
  return { reason: "disk", description, sinceMs, untilMs: sinceMs + bounds.diskMs };
}

function ofOrigin({ nowMs, movedMs, origin, bounds }: FlightView): Wait | undefined {
  if (origin === undefined) return undefined;
  const { pause, bodies } = origin;
  const held = ofDisk(bodies, { nowMs, bounds });
  if (held !== undefined) return held;
  if (pause !== undefined) return pause;
  const sinceMs = Math.max(origin.sinceMs, movedMs);
  const description = "the origin has sent nothing";
  return { reason: "origin", description, sinceMs, untilMs: undefined };
}

function ofParents({ nowMs, movedMs, parents }: FlightView): Wait {
  const { answeredCount, offeringCount, restUntilMs, namedMs, untilMs } = parents;
  const sinceMs = Math.max(movedMs, namedMs);
  if (offeringCount > 0 && restUntilMs > nowMs) {
    const description = "the parents that have what is missing have been busy, or failing";
    return { reason: "rest", description, sinceMs, untilMs };
  }
  return answeredCount === 0
    ? { reason: "parents", description: "no parent has said what it has", sinceMs, untilMs }
    : { reason: "pieces", description: "no parent has had what is missing", sinceMs, untilMs };
}

const SCHEDULER_WORDS = {
  asked: ["scheduler", "the scheduler has not answered"],
  lost: ["scheduler-lost", "the scheduler has been out of reach"],
  pausing: ["scheduler-pause", "the scheduler has known nobody of use"],
} as const;

function ofScheduler({ scheduler }: FlightView): Wait | undefined {
  if (scheduler === undefined) return undefined;
  const { state, sinceMs, untilMs } = scheduler;
  const [reason, description] = SCHEDULER_WORDS[state];
  return { reason, description, sinceMs, untilMs };
}

export function viewOfRun(run: PieceRun): PieceWaitView {
  const { number, source, asked, isFetched, awaitsRoom, silentMs, movedMs } = run;
  const from = (source === undefined ? asked : [source]).map(nameOfSource);
  const isAnnounced = source !== undefined;
  return { number, from, isFetched, isAnnounced, awaitsRoom, silentMs, movedMs };
}
