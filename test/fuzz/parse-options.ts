import { parseArgs } from "node:util";
import { TARGET_NAMES } from "./targets.ts";

export interface FuzzOptions {
  readonly isHelp: boolean;
  readonly targets: readonly string[];
  /** Of the target's own counts. */
  readonly size: "short" | "usual" | "full";
  /** Instead of those: units for each target. */
  readonly count: number | undefined;
  /** For each target, at most. */
  readonly seconds: number;
  /** Of the random numbers; undefined: any. */
  readonly start: number | undefined;
  readonly isGuided: boolean;
  /** Whether inputs that reach new code are added to the corpus. */
  readonly isKeeping: boolean;
  /** Only the inputs in this file. */
  readonly replay: string | undefined;
  /** Where failures are written; undefined: the usual place. */
  readonly out: string | undefined;
}

export const HELP: string = `Usage: npm run fuzz -- [options]

  --target NAME,…   some of: ${TARGET_NAMES.join(", ")}; default all of them
  --count N         so many for each (connections, datagrams, … as the target counts); default its usual count
  --seconds N       so long for each, at most
  --full            the counts that docs/fuzzing.md promises
  --short           the counts of the tests
  --start N         start value of the random numbers; default any, and printed
  --unguided        do not look at which code is reached
  --keep            add inputs that reach new code to test/fuzz/corpus
  --replay FILE     run the inputs of a failure again; with --target
  --out DIR         where failures are written; default test/fuzz/failures
`;

/** @throws {TypeError | RangeError} for what is no option, or no value for one */
export function parseOptions(args: readonly string[]): FuzzOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h" },
      target: { type: "string" },
      count: { type: "string" },
      seconds: { type: "string" },
      full: { type: "boolean" },
      short: { type: "boolean" },
      start: { type: "string" },
      unguided: { type: "boolean" },
      keep: { type: "boolean" },
      replay: { type: "string" },
      out: { type: "string" },
    },
  });
  const targets = values.target?.split(",") ?? TARGET_NAMES;
  const unknown = targets.find((name) => !TARGET_NAMES.includes(name));
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot fuzz '${unknown}': there is no such target, expected ${TARGET_NAMES.join(", ")}`,
    );
  }
  if (values.replay !== undefined && targets.length !== 1) {
    throw new RangeError("Cannot replay: one --target is needed");
  }
  return {
    isHelp: values.help === true,
    targets,
    size: values.full === true ? "full" : values.short === true ? "short" : "usual",
    count: toInteger("--count", values.count),
    seconds: toInteger("--seconds", values.seconds) ?? Number.MAX_SAFE_INTEGER,
    start: toInteger("--start", values.start),
    isGuided: values.unguided !== true,
    isKeeping: values.keep === true,
    replay: values.replay,
    out: values.out,
  };
}

function toInteger(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new RangeError(`Cannot use ${name} ${text}: a whole number is needed`);
}
