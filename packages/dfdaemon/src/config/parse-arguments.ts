import { parseArgs } from "node:util";
import { nearestName, type FlagSetting } from "@damselfly/settings";
import { FLAGS, type Flag } from "./flags.ts";
import { DEFAULT_CONFIG_PATH } from "./load-config.ts";

/** What the command line asks for. */
export type DaemonCommand =
  | { readonly kind: "run"; readonly options: RunOptions }
  /** `argv` is what follows `certs`. */
  | { readonly kind: "certs"; readonly argv: readonly string[] }
  | { readonly kind: "help" }
  | { readonly kind: "version" };

export interface RunOptions {
  readonly configPath: string;
  /** Somebody named the file: then it must be there. */
  readonly configPathGiven: boolean;
  /** For `loadConfig`. */
  readonly flags: readonly FlagSetting[];
  readonly logLevel: LogLevel;
  /** Undefined: no log file. */
  readonly logDir: string | undefined;
  /** Log to the terminal. */
  readonly console: boolean;
}

export type LogLevel = (typeof LOG_LEVELS)[number];

/** Thrown for a command line that cannot be understood; the process ends with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads `dfdaemon`'s command line. `--help` wins over everything, `--version` over the rest.
 *
 * @throws {UsageError} naming the flag, and the nearest known one if there is no such flag
 */
export function parseArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): DaemonCommand {
  if (argv[0] === "certs") return { kind: "certs", argv: argv.slice(1) };
  const given = readGiven(argv);
  if (given.some(({ flag }) => flag.name === "help")) return { kind: "help" };
  if (given.some(({ flag }) => flag.name === "version")) return { kind: "version" };

  const last = (name: string): string | undefined =>
    given.findLast(({ flag }) => flag.name === name)?.value;
  const configPath = last("config") ?? nonEmpty(env["DFDAEMON_CONFIG"]);
  return {
    kind: "run",
    options: {
      configPath: configPath ?? DEFAULT_CONFIG_PATH,
      configPathGiven: configPath !== undefined,
      flags: settingsOf(given),
      logLevel: parseLogLevel(last("log-level") ?? nonEmpty(env["DFDAEMON_LOG_LEVEL"]) ?? "info"),
      logDir: last("log-dir") ?? nonEmpty(env["DFDAEMON_LOG_DIR"]),
      console:
        given.some(({ flag }) => flag.name === "console") ||
        /^(1|true|yes)$/i.test(env["DFDAEMON_CONSOLE"] ?? ""),
    },
  };
}

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;

/** A flag as it was given; `value` is empty for one that takes none. */
interface GivenFlag {
  readonly flag: Flag;
  readonly written: string;
  readonly value: string;
}

function readGiven(argv: readonly string[]): GivenFlag[] {
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      FLAGS.map(({ name, short, valueName }) => [
        name,
        {
          type: valueName === undefined ? ("boolean" as const) : ("string" as const),
          ...(short === undefined ? {} : { short }),
        },
      ]),
    ),
  });
  return tokens.flatMap((token) => {
    if (token.kind === "option-terminator") return [];
    if (token.kind === "positional")
      throw new UsageError(`Cannot use '${token.value}': expected a flag; see dfdaemon --help`);
    return [readFlag(token.name, token.rawName, token.value)];
  });
}

function readFlag(name: string, written: string, value: string | undefined): GivenFlag {
  const flag = FLAGS.find((one) => one.name === name);
  if (flag === undefined) {
    const nearest = nearestName(
      name,
      FLAGS.map((one) => one.name),
    );
    const hint = nearest === undefined ? "see dfdaemon --help" : `did you mean --${nearest}?`;
    throw new UsageError(`Cannot use ${written}: there is no such flag; ${hint}`);
  }
  if (flag.valueName !== undefined && (value === undefined || value === ""))
    throw new UsageError(`Cannot use ${written}: its value is missing, expected ${flag.valueName}`);
  if (flag.valueName === undefined && value !== undefined)
    throw new UsageError(`Cannot use ${written}: it takes no value, got '${value}'`);
  return { flag, written, value: value ?? "" };
}

function settingsOf(given: readonly GivenFlag[]): FlagSetting[] {
  const addresses = given.filter(({ flag }) => flag.setting === "scheduler.addrs");
  return given.flatMap(({ flag, written, value }): FlagSetting[] => {
    if (flag.name === "set") return [parseSet(value)];
    if (flag.setting === undefined) return [];
    const { setting: path } = flag;
    if (path === "scheduler.addrs")
      return [{ flag: written, path, value: addresses.map((address) => address.value) }];
    return [{ flag: written, path, value: flag.settingValue ?? value }];
  });
}

function parseSet(text: string): FlagSetting {
  const equals = text.indexOf("=");
  if (equals < 1) throw new UsageError(`Cannot use --set: it is '${text}', expected KEY=VALUE`);
  const path = text.slice(0, equals);
  return { flag: `--set ${path}`, path, value: text.slice(equals + 1) };
}

function parseLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((one) => one === text.toLowerCase());
  if (level === undefined)
    throw new UsageError(
      `Cannot use log level '${text}': expected one of ${LOG_LEVELS.join(", ")}`,
    );
  return level;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
