import { toError } from "./to-error.ts";

/** Causes further down than this are not for people. */
const DEPTH_MAX = 5;

/** What an error says, with what the layers below it say, outermost first: `Cannot fetch piece 3: …: connect ECONNREFUSED 10.0.0.1:4000`. */
export function messageOf(thrown: unknown): string {
  const messages: string[] = [];
  let error: Error | undefined = toError(thrown);
  while (error !== undefined && messages.length < DEPTH_MAX) {
    const message = error.message === "" ? error.name : error.message;
    if (!messages.some((earlier) => earlier.includes(message))) messages.push(message);
    error = error.cause === undefined ? undefined : toError(error.cause);
  }
  return messages.join(": ");
}
