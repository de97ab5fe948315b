import { setFlagsFromString } from "node:v8";

/**
 * Has V8 keep the code of functions that have not run for a while. By default five collections of the whole heap throw it away, and a daemon
 * with nothing to do is collected by V8 and by `QuietCollector`: after each pause it would compile everything anew, in the middle of the
 * next download, and interpret it until then. A few MiB are kept for that.
 *
 * Takes effect from the next collection on.
 */
export function keepCode(): void {
  setFlagsFromString(KEEP_CODE_FLAG);
}

/** The same as an option of `node`. */
export const KEEP_CODE_FLAG = "--no-flush-bytecode";
