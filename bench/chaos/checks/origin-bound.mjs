// How many bytes of a file the origin may have sent: each version once, and again what faults made somebody ask for again.

const MIB = 2 ** 20;
/** Pieces that are under way from the origin at a time, of the least length: what a reader that dies may have to be sent again. */
const IN_FLIGHT_LENGTH = 32 * MIB;
/** A connection that ends takes with it what the kernel had on its way. */
const SLACK_LENGTH = 4 * MIB;

/**
 * @param {{ spec: object, lengths: number[], askerCount: number, clients: object[], incidents: object[] }} about - `lengths`: of the versions
 *   that there were; `askerCount`: nodes that asked for it; `clients`, `incidents`: while it was asked for
 * @returns bytes
 */
export function originBoundBytes({ spec, lengths, askerCount, clients, incidents }) {
  const once = lengths.reduce((sum, length) => sum + length, 0);
  const longest = Math.max(...lengths);
  const inFlight = Math.min(longest, IN_FLIGHT_LENGTH);
  const canRange = spec.ranges && spec.validators !== "none" && !spec.isChunked;
  // Where ranges cannot be had, or not be trusted, whoever begins anew begins at the start.
  const again = canRange ? inFlight : longest;
  let bytes = once + SLACK_LENGTH;
  // A version that goes in the middle was read in part by whoever had begun with it, and is asked for by those who had not heard.
  bytes += (lengths.length - 1) * askerCount * longest;
  for (const { download } of clients) {
    if (download.leaves !== undefined || download.timeoutSeconds !== undefined) bytes += again;
    if (download.revalidates) bytes += inFlight;
  }
  for (const { fault } of incidents)
    bytes += sentAgain(fault, { spec, again, longest, askerCount });
  return bytes;
}

function sentAgain({ kind, target, how, isEverywhere }, { spec, again, longest, askerCount }) {
  switch (kind) {
    case "kill-daemon":
    case "kill-tree":
    case "kill-worker":
    case "stop-daemon":
    case "stop-worker":
    case "restart-daemon":
      return again;
    // Without a scheduler, or apart from the others, every node is on its own.
    case "kill-scheduler":
    case "stop-scheduler":
    case "restart-scheduler":
    case "split":
      return askerCount * longest;
    case "cut":
    case "link":
      return target === "scheduler" || target === "origin" ? askerCount * longest : longest;
    // What a node has lost, or has no room for, it fetches again, and so does who had it from there.
    case "full-disk":
    case "corrupt-content":
    case "corrupt-journal":
    case "edit-output":
    case "delete-task":
      return longest;
    case "lie":
      return target === spec.name ? askerCount * longest : 0;
    case "origin-error": {
      if (!isEverywhere && target !== spec.name) return 0;
      // Three tries a piece; of a whole file for each piece as much as is on its way until it is given up.
      return (how === "200 for a range" ? 8 : 3) * Math.max(again, longest);
    }
    default:
      throw new TypeError(`Cannot bound the origin's bytes: no fault is called ${kind}`);
  }
}
