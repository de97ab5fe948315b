import type { PieceRecord, StoredTask } from "@damselfly/storage";
import { followPieces } from "./follow-pieces.ts";
import type { SharedFlight } from "./task-flights.ts";
import type { ToldPieces } from "./told-pieces.ts";

/** What somebody is to be told of. */
export interface Telling {
  readonly task: StoredTask;
  readonly pieceNumbers: readonly number[];
  readonly told: ToldPieces;
  /** One piece after the other, whichever comes first. */
  readonly inOrder: boolean;
}

/**
 * Tells once of each of the pieces as they come to the disk, and again of one that is of no use, which the flight fetches anew. Ends when all are
 * there, or early when the flight has ended. Those that were told of and are gone are waited for, and not told of again.
 *
 * @throws the failure of the flight; the signal's reason when it aborts; what the telling was ended with
 */
export async function* tellPieces(
  { task, pieceNumbers, told, inOrder }: Telling,
  { flight, ended }: Pick<SharedFlight, "flight" | "ended">,
  signal: AbortSignal,
): AsyncGenerator<PieceRecord, void, undefined> {
  const before = new Map(task.pieces);
  for (const numbers of inOrder ? pieceNumbers.map((number) => [number]) : [pieceNumbers]) {
    let hasLost: boolean;
    do {
      hasLost = false;
      const open = numbers.filter((number) => !told.has(number) || !task.pieces.has(number));
      // What was on the disk when the flight was boarded it has not been asked for.
      const missing = open.filter((number) => !task.pieces.has(number));
      if (missing.length > 0) flight.want(missing);
      for await (const { piece } of followPieces(task, open, ended, signal)) {
        const { number } = piece;
        if (told.has(number)) continue;
        told.add(number);
        yield piece === before.get(number) ? asLocal(piece) : piece;
        told.assertGoesOn();
        hasLost = !told.has(number);
        if (hasLost) break;
      }
    } while (hasLost);
    if (numbers.some((number) => !told.has(number))) return;
  }
}

/** Of a piece that was here before it was asked for. */
export function asLocal(piece: PieceRecord): PieceRecord {
  return { ...piece, trafficType: "LOCAL_PEER" };
}
