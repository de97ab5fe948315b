// What crash.test.ts and the process that it kills agree on.

export const PIECE_LENGTH = 20_000;

export function taskIdOf(index) {
  return index.toString(16).padStart(3, "0") + "5".repeat(61);
}

/** Bytes of a task that no other task has at the same place. */
export function contentOfTask(index) {
  const length = PIECE_LENGTH * (index % 5) + 7777;
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7 + index * 13 + 1) & 0xff);
}
