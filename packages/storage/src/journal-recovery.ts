import { type DecodedJournal, fits, type JournalRecord, sameShape } from "./journal-format.ts";
import type { PieceRecord, TaskFacts } from "./storage.ts";

/** What can be had of a journal that is not whole. */
export interface RecoveredState {
  readonly facts: TaskFacts;
  /** Each to be checked against its digest before it is used. */
  readonly pieces: Map<number, PieceRecord>;
}

/**
 * What a damaged journal still says. Beyond the damage the order of the facts is lost, and so is what the lost ones said; what is sound all
 * the same:
 *
 * - A record of a piece says which digest the bytes at that place had when they were checked. If they have it now, they are good, whatever
 *   was said of them in between: a piece is withdrawn because its bytes are damaged, and then they have it no longer.
 * - That holds within one version of the file, and a journal is about one: its facts never change lengths and version. So facts may be
 *   taken from beyond the damage; but if any two of them disagree, these are remains of another journal, and nothing beyond it counts.
 * - What says that the file is as it should be (sealed, a fingerprint) counts for nothing: of what followed, something may be lost.
 *
 * Undefined: nobody knows what the pieces are pieces of.
 */
export function recoverState(
  { state, later }: Pick<DecodedJournal, "state" | "later">,
  taskId: string,
): RecoveredState | undefined {
  const before = state.facts?.taskId === taskId ? state.facts : undefined;
  const found = later.flatMap((record) => factsOf(record, taskId));
  const facts = found.at(-1) ?? before;
  if (facts === undefined) return undefined;
  if (![...found, before ?? facts].every((other) => sameShape(other, facts)))
    return before && { facts: before, pieces: state.pieces };

  const pieces = before === undefined ? new Map<number, PieceRecord>() : state.pieces;
  for (const record of later) {
    if (record.type !== "piece" || !fits(record.piece, facts)) continue;
    if (!pieces.has(record.piece.number)) pieces.set(record.piece.number, record.piece);
  }
  return { facts, pieces };
}

function factsOf(record: JournalRecord, taskId: string): TaskFacts[] {
  return record.type === "facts" && record.facts.taskId === taskId ? [record.facts] : [];
}
