import { reasonIn } from "./origin-error.ts";
import type { OriginWait } from "./origin.ts";

/** What an origin says of itself may be of any length. Characters. */
const REASON_LENGTH_MAX = 300;

/** A wait as whoever asked for the file is told of it. */
export function formatWait({ kind, waitMs, reason }: OriginWait): string {
  const why = reasonIn(reason).slice(0, REASON_LENGTH_MAX);
  switch (kind) {
    case "asked":
      // Without the moment that chance adds.
      return `waiting for the origin: it asked to come back in ${Math.max(1, Math.floor(waitMs / 1000))} s (${why})`;
    case "failed":
      return `waiting for the origin: it is asked again in ${Math.ceil(waitMs / 1000)} s (${why})`;
    case "silent":
      return `waiting for the origin: ${why}`;
    default:
      return kind satisfies never;
  }
}
