import type { PieceRecord, StoredTask } from "@damselfly/storage";

/**
 * Yields each of the pieces once, as they come to the disk; `fresh` ones came while we watched. Ends with the last of them, or early when
 * `ended` resolves to nothing: then no more will come.
 *
 * @throws the failure that `ended` resolves to, if that comes first; the signal's reason when it aborts
 */
export async function* followPieces(
  task: StoredTask,
  pieceNumbers: Iterable<number>,
  ended: Promise<Error | undefined> | undefined,
  signal: AbortSignal,
): AsyncGenerator<{ readonly piece: PieceRecord; readonly fresh: boolean }, void, undefined> {
  const missing = new Set(pieceNumbers);
  /** Those that were here from the start. */
  const present: number[] = [];
  let arrived: PieceRecord[] = [];
  let end: { readonly failure: Error | undefined } | undefined;
  let wake: () => void = () => {};

  const unsubscribe = task.onChange((change) => {
    if (change.kind !== "recorded" || !missing.has(change.piece.number)) return;
    arrived.push(change.piece);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  void ended?.then((failure) => {
    end = { failure };
    wake();
  });
  for (const number of missing) if (task.pieces.has(number)) present.push(number);

  try {
    for (const number of present) {
      signal.throwIfAborted();
      const piece = task.pieces.get(number);
      if (piece !== undefined && missing.delete(number)) yield { piece, fresh: false };
    }
    present.length = 0;
    while (missing.size > 0) {
      signal.throwIfAborted();
      const batch = arrived;
      arrived = [];
      for (const piece of batch) {
        signal.throwIfAborted();
        if (missing.delete(piece.number)) yield { piece, fresh: true };
      }
      if (batch.length > 0) continue;
      if (end?.failure !== undefined) throw end.failure;
      if (end !== undefined) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    unsubscribe();
    signal.removeEventListener("abort", onAbort);
  }
}
