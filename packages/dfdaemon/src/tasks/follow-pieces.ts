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
  const arrived: { piece: PieceRecord; fresh: boolean }[] = [];
  let end: { readonly failure: Error | undefined } | undefined;
  let wake: () => void = () => {};

  const unsubscribe = task.onChange((change) => {
    if (change.kind !== "recorded" || !missing.has(change.piece.number)) return;
    arrived.push({ piece: change.piece, fresh: true });
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  void ended?.then((failure) => {
    end = { failure };
    wake();
  });
  for (const number of missing) {
    const piece = task.pieces.get(number);
    if (piece !== undefined) arrived.push({ piece, fresh: false });
  }

  try {
    while (missing.size > 0) {
      signal.throwIfAborted();
      const next = arrived.shift();
      if (next !== undefined) {
        if (missing.delete(next.piece.number)) yield next;
        continue;
      }
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
