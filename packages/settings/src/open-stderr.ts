import { openDestination } from "./open-destination.ts";

/** What takes text, each time whole lines. */
export interface TextWriter {
  write(text: string): unknown;
}

const STDERR = 2;

/**
 * Standard error as a log needs it: written before `write` returns, and never at the cost of the process. `process.stderr` emits an error
 * that ends the process where it is a file on a full disk, or a pipe that nobody reads any more.
 *
 * @param fd another descriptor, which stays the caller's
 */
export function openStderr(fd: number = STDERR): TextWriter {
  // Of an error nobody is told: this is where it would be said.
  return openDestination({ dest: fd });
}
