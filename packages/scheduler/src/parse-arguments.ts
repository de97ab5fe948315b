import { parseArgs } from "node:util";
import { nearestName } from "@damselfly/settings";

/** What the command line asks for. */
export type SchedulerCommand =
  | { readonly kind: "run"; readonly options: RunOptions }
  | { readonly kind: "help" }
  | { readonly kind: "version" };

export interface RunOptions {
  /** Undefined: the usual place, if there is one. */
  readonly configPath: string | undefined;
  readonly logLevel: LogLevel;
  /** Log for people, not for programs. */
  readonly console: boolean;
}

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Thrown for a command line that cannot be understood; the process ends with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const FLAGS = {
  config: { type: "string", short: "c" },
  "log-level": { type: "string", short: "l" },
  console: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "V" },
} as const;

export const HELP: string = `Usage: dfscheduler [flags]

Tells the peers of a cluster which parents to try. Reads Dragonfly's scheduler.yaml as far as it applies.

  -c, --config FILE      settings; default /etc/dragonfly/scheduler.yaml, if it is there
  -l, --log-level LEVEL  ${LOG_LEVELS.join(", ")}; default info
      --console          log lines for people instead of JSON
  -h, --help             print this
  -V, --version          print the version

Every setting is also an environment variable: DFSCHEDULER_SERVER_PORT=8002.
SIGHUP has the certificates looked at; SIGTERM ends it.
`;

/** @throws {UsageError} naming the flag, and the nearest known one if there is no such flag */
export function parseArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): SchedulerCommand {
  const { tokens } = parseArgs({ args: [...argv], options: FLAGS, strict: false, tokens: true });
  const given = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      throw new UsageError(`Cannot use '${token.value}': expected a flag; see dfscheduler --help`);
    }
    given.set(token.name, valueOf(token));
  }
  if (given.has("help")) return { kind: "help" };
  if (given.has("version")) return { kind: "version" };
  return {
    kind: "run",
    options: {
      configPath: given.get("config") ?? nonEmpty(env["DFSCHEDULER_CONFIG"]),
      logLevel: parseLevel(
        given.get("log-level") ?? nonEmpty(env["DFSCHEDULER_LOG_LEVEL"]) ?? "info",
      ),
      console: given.has("console") || /^(?:1|true|yes)$/i.test(env["DFSCHEDULER_CONSOLE"] ?? ""),
    },
  };
}

/** The value of a flag, empty for one that takes none. */
function valueOf(token: {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
}): string {
  const { name, rawName, value } = token;
  const flag = Object.entries(FLAGS).find(([known]) => known === name)?.[1];
  if (flag === undefined) {
    const nearest = nearestName(name, Object.keys(FLAGS));
    const hint = nearest === undefined ? "see dfscheduler --help" : `did you mean --${nearest}?`;
    throw new UsageError(`Cannot use ${rawName}: there is no such flag; ${hint}`);
  }
  if (flag.type === "string" && (value ?? "") === "") {
    throw new UsageError(`Cannot use ${rawName}: its value is missing`);
  }
  if (flag.type === "boolean" && value !== undefined) {
    throw new UsageError(`Cannot use ${rawName}: it takes no value, got '${value}'`);
  }
  return value ?? "";
}

function parseLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text.toLowerCase());
  if (level !== undefined) return level;
  throw new UsageError(`Cannot use log level '${text}': expected one of ${LOG_LEVELS.join(", ")}`);
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
