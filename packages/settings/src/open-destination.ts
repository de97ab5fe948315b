import { pino } from "pino";

/** Lines that wait for room; what comes after them is lost. Bytes. */
const UNWRITTEN_LENGTH_MAX = 1 << 20;
/** How often a pipe that is full is tried again before the process goes on: half a second, since each time takes 100 ms. */
const FULL_PIPE_TRIES_MAX = 5;

/** Where a log is written to. Emits `error` when that fails, each time. */
export type Destination = ReturnType<typeof pino.destination>;

/**
 * Writes each line before it returns, and never throws. Where there is no room, the first lines wait until a later one finds some, and
 * those after them are lost. The same goes for a pipe whose reader takes nothing for half a second.
 *
 * @param options.dest a path, whose file is appended to, or a descriptor
 * @throws the system's error when the file cannot be opened
 */
export function openDestination(options: {
  readonly dest: string | number;
  readonly mode?: number;
}): Destination {
  let tryCount = 0;
  const destination = pino.destination({
    ...options,
    sync: true,
    append: true,
    maxLength: UNWRITTEN_LENGTH_MAX,
    retryEAGAIN: () => ++tryCount <= FULL_PIPE_TRIES_MAX,
  });
  // Without a listener the error is thrown to whoever logs.
  destination.on("error", () => {});
  destination.on("write", (length: number) => {
    if (length > 0) tryCount = 0;
  });
  // A line that is dropped writes nothing; those that wait are to be tried all the same, or they wait for ever.
  destination.on("drop", () => void destination.write(""));
  return destination;
}
