import type { Parent } from "../parents/parent.ts";
import { nameOfSource } from "../parents/piece-fetches.ts";
import type { PieceRun } from "../parents/piece-run.ts";

/** How a flight gets on. Lengths are bytes, rates bytes a millisecond. */
export interface FlightReport {
  /** On the clock of the flight, as all times. Milliseconds. */
  readonly startedMs: number;
  /** Bytes that have come, whatever became of them. */
  readonly receivedLength: number;
  readonly rate: number;
  /** Undefined: there is no conversation with one at this moment. */
  readonly scheduler: string | undefined;
  /** Undefined: it is not read. */
  readonly origin: { readonly byteCount: number; readonly inFlight: number } | undefined;
  readonly parents: readonly FlightParentReport[];
  /** Also of those that are parents no more. */
  readonly bytesByParent: ReadonlyMap<string, number>;
  readonly pieces: readonly PieceRunReport[];
}

export interface FlightParentReport {
  readonly hostId: string;
  /** `asked`: it has not said anything; `resting`: nothing is asked of it, because it was busy or failed. */
  readonly state: "asked" | "in use" | "resting";
  readonly inFlight: number;
  readonly pieceCount: number;
  /** All pieces together; undefined: not measured. */
  readonly rate: number | undefined;
}

/** A piece in flight. */
export interface PieceRunReport {
  readonly number: number;
  /** Whom it has been asked of. */
  readonly from: readonly string[];
  readonly announced: boolean;
  readonly receivedLength: number;
  readonly length: number;
  /** For how long the next byte has been waited for. Milliseconds. */
  readonly silentMs: number;
  readonly hedgeCount: number;
}

export function reportParent(parent: Parent, nowMs: number): FlightParentReport {
  const { candidate, address, restsUntilMs, inFlight, pieceCount, goodput: rate } = parent;
  const state = address === undefined ? "asked" : restsUntilMs > nowMs ? "resting" : "in use";
  return { hostId: candidate.hostId, state, inFlight, pieceCount, rate };
}

export function reportRun(run: PieceRun): PieceRunReport {
  const { number, asked, source, position: receivedLength, length, silentMs, hedgeCount } = run;
  const from = asked.map(nameOfSource);
  const announced = source !== undefined;
  return { number, from, announced, receivedLength, length, silentMs, hedgeCount };
}
