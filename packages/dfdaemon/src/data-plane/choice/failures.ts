import { codeOf } from "../../code-of.ts";

/** Failures before the announcement that say nothing of other protocols. */
const PASSABLE_CODES: ReadonlySet<string> = new Set([
  "ERR_PARENT_UNREACHABLE",
  "ERR_PARENT_UNTRUSTED",
  "ERR_PARENT_STALLED",
  "ERR_PROTOCOL",
]);

/** Failures within the content after which another protocol may bring the rest. */
export function canMove(error: unknown): boolean {
  const code = codeOf(error);
  return (
    code === "ERR_PIECE_TRUNCATED" ||
    code === "ERR_PARENT_STALLED" ||
    code === "ERR_PARENT_UNREACHABLE"
  );
}

/** Whether another protocol may get through where this failure came before the announcement. */
export function isPassable(error: unknown): boolean {
  return PASSABLE_CODES.has(codeOf(error));
}

/** Who lies or is somebody else outweighs who is not there. */
export function gravest(failures: readonly Error[]): Error | undefined {
  const grave = ["ERR_PARENT_UNTRUSTED", "ERR_PROTOCOL"];
  return (
    failures.find((failure) => !isPassable(failure)) ??
    failures.find((failure) => grave.includes(codeOf(failure))) ??
    failures.at(-1)
  );
}
