import { parseArgs } from "node:util";
import type { FlagSetting } from "@damselfly/settings";
import { DEFAULT_CONFIG_PATH } from "./default-paths.ts";
import { FLAGS, type Flag } from "./flags.ts";

/** What the command line asks for. */
export type DaemonCommand =
  | { readonly kind: "run"; readonly options: RunOptions }
  /** `argv` is what follows `certs`. */
  | { readonly kind: "certs"; readonly argv: readonly string[] }
  /** `argv` is what follows `cache`. */
  | { readonly kind: "cache"; readonly argv: readonly string[] }
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
  /** Full log files that are kept; undefined: not said. */
  readonly logMaxFiles: number | undefined;
  /** When one is full, in bytes; undefined: not said. */
  readonly logMaxFileSize: number | undefined;
  /** Log to the terminal. */
  readonly console: boolean;
}

export type LogLevel = (typeof LOG_LEVELS)[number];

/** Thrown for a command line that cannot be understood; the process ends with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads `dfdaemon`'s command line. `--help` wins over everything, `--version` over the rest; neither loads more than this file and the
 * table of flags, so that asking costs nothing.
 *
 * @throws {UsageError} naming the flag, and the nearest known one if there is no such flag
 */
export async function parseArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<DaemonCommand> {
  if (argv[0] === "certs" || argv[0] === "cache") return { kind: argv[0], argv: argv.slice(1) };
  const given = await readGiven(argv);
  if (given.some(({ flag }) => flag.name === "help")) return { kind: "help" };
  if (given.some(({ flag }) => flag.name === "version")) return { kind: "version" };

  const last = (name: string): string | undefined =>
    given.findLast(({ flag }) => flag.name === name)?.value;
  const lastOrVariable = (name: string): string | undefined =>
    last(name) ?? nonEmpty(env[`DFDAEMON_${name.replaceAll("-", "_").toUpperCase()}`]);
  const configPath = lastOrVariable("config");
  const dynconfig = nonEmpty(env["DFDAEMON_DYNCONFIG"]);
  const { parseSize } = await import("./flag-values.ts");
  return {
    kind: "run",
    options: {
      configPath: configPath ?? DEFAULT_CONFIG_PATH,
      configPathGiven: configPath !== undefined,
      flags: [
        // Dragonfly's variable, which is not spelt as the setting's would be.
        ...(dynconfig === undefined
          ? []
          : [{ flag: "DFDAEMON_DYNCONFIG", path: "dynconfig.path", value: dynconfig }]),
        ...settingsOf(given),
      ],
      logLevel: parseLogLevel(lastOrVariable("log-level") ?? "info"),
      logDir: lastOrVariable("log-dir"),
      logMaxFiles: atLeastOne(
        lastOrVariable("log-max-files"),
        { flag: "--log-max-files", wanted: "a count of files, at least 1" },
        (text) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined),
      ),
      logMaxFileSize: atLeastOne(
        lastOrVariable("log-max-file-size"),
        { flag: "--log-max-file-size", wanted: "a size such as 64MiB or 1GiB" },
        parseSize,
      ),
      console:
        given.some(({ flag }) => flag.name === "console") ||
        /^(1|true|yes)$/i.test(env["DFDAEMON_CONSOLE"] ?? ""),
    },
  };
}

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;

function atLeastOne(
  text: string | undefined,
  { flag, wanted }: { readonly flag: string; readonly wanted: string },
  parse: (text: string) => number | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value === undefined || value < 1)
    throw new UsageError(`Cannot use ${flag}: it is '${text}', expected ${wanted}`);
  return value;
}

/** A flag as it was given; `value` is empty for one that takes none. */
interface GivenFlag {
  readonly flag: Flag;
  readonly written: string;
  readonly value: string;
}

async function readGiven(argv: readonly string[]): Promise<GivenFlag[]> {
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
  const given: GivenFlag[] = [];
  for (const token of tokens) {
    if (token.kind === "positional")
      throw new UsageError(`Cannot use '${token.value}': expected a flag; see dfdaemon --help`);
    if (token.kind === "option") given.push(await readFlag(token.name, token.rawName, token.value));
  }
  return given;
}

async function readFlag(
  name: string,
  written: string,
  value: string | undefined,
): Promise<GivenFlag> {
  const flag = FLAGS.find((one) => one.name === name);
  if (flag === undefined) {
    const { nearestName } = await import("./flag-values.ts");
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
  // Dragonfly's takes numbers too, from 1, which is error.
  const level =
    LOG_LEVELS.find((one) => one === text.toLowerCase()) ??
    (/^[1-5]$/.test(text) ? LOG_LEVELS.at(-Number(text)) : undefined);
  if (level === undefined)
    throw new UsageError(
      `Cannot use log level '${text}': expected one of ${LOG_LEVELS.join(", ")}`,
    );
  return level;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
