import type { StoredTask } from "@damselfly/storage";

/**
 * Reads what is on disk of a task, after its content turned out to be wrong as a whole: what the disk has damaged since is dropped, and can be
 * fetched again.
 *
 * @returns the number of a piece that was dropped; undefined: every piece is what it was when it came
 */
export async function findDamaged(
  task: Pick<StoredTask, "pieces" | "verify">,
): Promise<number | undefined> {
  const before = [...task.pieces.keys()];
  await task.verify(before);
  // Also those that somebody else has found meanwhile, or stat has shown.
  return before.find((number) => !task.pieces.has(number));
}
