// Whether a download may fail as it did: what went wrong must explain it.
import { relationOf } from "../incidents.mjs";

/** Every code that dfget prints: see packages/dfget/src/errors.ts. */
const CODES = new Set([
  "ERR_USAGE",
  "ERR_OUTPUT",
  "ERR_NO_SPACE",
  "ERR_DAEMON_UNREACHABLE",
  "ERR_DOWNLOAD",
  "ERR_INCOMPLETE",
  "ERR_PROTOCOL",
  "ERR_RANGE",
  "ERR_DIGEST_MISMATCH",
  "ERR_TIMEOUT",
  "ERR_INTERRUPTED",
]);
const MESSAGE_LENGTH_MAX = 2_000;
/** The daemon of this node itself was away. */
const AWAY = ["kill-daemon", "kill-tree", "restart-daemon"];
/** Content that is handed on as it comes cannot be taken back when the file changes. */
const STREAMED = ["stdout", "range", "transfer"];

/**
 * @param {{ download: object, error: object }} failure - `error`: what dfget printed last
 * @param {{ incidents: object[], changeCount: number, isBlind: boolean, lengths: number[] }} context - `incidents`: those that lasted meanwhile;
 *   `changeCount`: how often the file has changed since it was there; `isBlind`: nothing tells its versions apart; `lengths`: of its versions so far
 * @returns why it may not be, in words; undefined: it may
 */
export function judgeFailure({ download, error }, context) {
  const { code, message } = error;
  if (!CODES.has(code)) return `its code is ${code}, which is none`;
  if (typeof message !== "string" || message === "") return "it says nothing";
  if (message.length > MESSAGE_LENGTH_MAX) return `its message has ${message.length} characters`;
  if (/\n\s+at |undefined|\[object/.test(message)) return `it is no sentence: ${message}`;
  return isExplained({ download, error }, context) ? undefined : "nothing explains it";
}

function isExplained({ download, error }, { incidents, changeCount, isBlind, lengths }) {
  const faults = incidents.map(({ fault }) => fault);
  const related = (relation) => faults.filter((fault) => relationOf(fault, download) === relation);
  const own = related("own");
  const isAway = own.some((fault) => AWAY.includes(fault.kind) || fault.isDown === true);
  const isFull = own.some(({ kind }) => kind === "full-disk");
  const { mode, timeoutSeconds, leaves, range } = download;
  // One reading of it is not gone on with by another one's, whoever broke it off: for all anybody knows, it has changed.
  const isTornAway = STREAMED.includes(mode) && (changeCount > 0 || isBlind);
  // An origin that does not answer does not prove either that its file is the one it was.
  const hasNoWay = [...own, ...related("origin"), ...related("everybody")].some((fault) =>
    ["cut", "split", "origin-error"].includes(fault.kind),
  );
  switch (error.code) {
    case "ERR_DAEMON_UNREACHABLE":
      return isAway;
    case "ERR_NO_SPACE":
      return isFull;
    case "ERR_OUTPUT":
      return isFull || isTornAway || (STREAMED.includes(mode) && hasNoWay);
    case "ERR_TIMEOUT":
      return timeoutSeconds !== undefined;
    case "ERR_INTERRUPTED":
      return leaves !== undefined && leaves.signal !== "SIGKILL";
    case "ERR_DIGEST_MISMATCH":
      return mode === "digest" && changeCount > 0;
    case "ERR_RANGE":
      return mode === "range" && lengths.some((length) => range.to >= length);
    case "ERR_DOWNLOAD": {
      const isUnstable = changeCount >= 3;
      const isDeleted = own.some(({ kind }) => kind === "delete-task");
      return isAway || isFull || hasNoWay || isTornAway || isUnstable || isDeleted;
    }
    default:
      return false;
  }
}
