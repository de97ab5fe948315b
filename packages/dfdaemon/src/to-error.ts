/** What was thrown, as an error: programs throw other things now and then. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
