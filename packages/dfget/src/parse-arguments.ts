import { parseArgs, type ParseArgsConfig } from "node:util";

import { DfgetError } from "./errors.ts";
import {
  DEFAULT_FILTERED_QUERY_PARAMS,
  FLAGS,
  type Flag,
  REFUSED_FLAGS,
  REFUSED_SHORTS,
} from "./flags.ts";
import { nearestFlag } from "./nearest-flag.ts";
import type { DownloadOptions } from "./options.ts";
import {
  parseDigest,
  parseDownloadUrl,
  parseDuration,
  parseHeader,
  parsePieceLength,
  parseRange,
  parseSwitch,
} from "./parse-values.ts";

export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | { readonly kind: "download"; readonly options: DownloadOptions };

/**
 * What the command line and the `DFGET_…` variables ask for. A flag wins over its variable.
 *
 * @throws {DfgetError} `ERR_USAGE`, naming the flag or variable and what was expected
 */
export function parseArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Command {
  const { given, positionals } = readCommandLine(argv);
  if (given.has("help")) return { kind: "help" };
  if (given.has("version")) return { kind: "version" };

  const values = new Values(given, env);
  const [urlText, extra] = positionals;
  if (urlText === undefined)
    throw usageError("Cannot start: no URL was given, expected 'dfget URL -O FILE'");
  if (extra !== undefined)
    throw usageError(`Cannot start: '${extra}' is one argument too many, expected one URL`);
  const url = convert("the URL", urlText, parseDownloadUrl);

  const output = values.text("output");
  if (output === undefined)
    throw usageError(
      "Cannot start: no output was given, expected -O FILE, or '-O -' for standard output",
    );

  const range = values.converted("range", parseRange);
  const digest = values.converted("digest", parseDigest);
  if (range !== undefined && digest !== undefined) {
    throw usageError("Cannot use --digest with --range: the digest is that of the entire file");
  }
  const forceHardLink = values.isOn("force-hard-link");
  const transferFromDaemon = values.isOn("transfer-from-dfdaemon");
  for (const [flag, isOn] of [
    ["--transfer-from-dfdaemon", transferFromDaemon],
    ["--range", range !== undefined],
    ["-O -", output === "-"],
  ] as const) {
    if (forceHardLink && isOn)
      throw usageError(
        `Cannot use --force-hard-link with ${flag}: dfget then writes the bytes itself`,
      );
  }

  return {
    kind: "download",
    options: {
      url,
      output,
      range,
      overwrite: values.isOn("overwrite"),
      digest,
      header: joinHeaders(
        values.list("header").map((text) => convert("--header", text, parseHeader)),
      ),
      revalidate: values.isOn("revalidate"),
      caCertPath: values.text("ca-cert"),
      insecure: values.isOn("insecure"),
      timeoutMs: values.converted("timeout", parseDuration) ?? TIMEOUT_MS,
      tag: values.text("tag") ?? "",
      application: values.text("application") ?? "",
      filteredQueryParams: given.has("filtered-query-param")
        ? values.list("filtered-query-param")
        : DEFAULT_FILTERED_QUERY_PARAMS,
      contentForTaskId: values.text("content-for-calculating-task-id"),
      pieceLength: values.converted("piece-length", parsePieceLength),
      priority: values.converted("priority", oneOf("0", "1", "2", "3", "4", "5", "6")) ?? "6",
      schedulingPolicy: values.converted("scheduling-policy", oneOf("auto", "always")) ?? "auto",
      disableBackToSource: values.isOn("disable-back-to-source"),
      transferFromDaemon,
      forceHardLink,
      endpoint: values.text("endpoint")?.replace(/^unix:(?:\/\/(?=\/))?/, ""),
      startDaemon: !values.isOn("no-start"),
      json: values.isOn("json"),
      progress: !values.isOn("no-progress"),
      logLevel: values.converted("log-level", (text) => LOG_LEVEL(text.toLowerCase())) ?? "info",
    },
  };
}

/** In any case, as Dragonfly's takes them. */
const LOG_LEVEL: (text: string) => string = oneOf("trace", "debug", "info", "warn", "error");

/** Dragonfly's. */
const TIMEOUT_MS = 2 * 3_600_000;

const MAY_BE_EMPTY: ReadonlySet<string> = new Set(["tag", "application"]);

const FLAGS_BY_NAME: ReadonlyMap<string, Flag> = new Map(FLAGS.map((flag) => [flag.name, flag]));

/** Flags with the values they were given, and what is no flag. */
function readCommandLine(argv: readonly string[]): {
  given: Map<string, string[]>;
  positionals: string[];
} {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const { name, short, value } of FLAGS) {
    options[name] = {
      type: value === undefined ? "boolean" : "string",
      ...(short === undefined ? {} : { short }),
    };
  }
  // Not strict: parseArgs' own messages know nothing of near names, and it refuses `--range -500`.
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const flag = FLAGS_BY_NAME.get(token.name);
    if (flag === undefined) throw unknownFlag(token.rawName, token.name);
    if (flag.value === undefined && token.value !== undefined)
      throw usageError(`Cannot read ${token.rawName}: it takes no value`);
    if (flag.value !== undefined && (token.value === undefined || looksLikeFlag(flag, token))) {
      throw usageError(
        `Cannot read ${token.rawName}: it needs a value, expected ${token.rawName} ${flag.value}`,
      );
    }
    if (token.value === "" && !MAY_BE_EMPTY.has(flag.name))
      throw usageError(`Cannot read ${token.rawName}: its value is empty`);
    const values = given.get(flag.name) ?? [];
    if (values.length > 0 && flag.value !== undefined && flag.multiple === undefined) {
      throw usageError(`Cannot read ${token.rawName}: it was given twice`);
    }
    given.set(flag.name, [...values, token.value ?? ""]);
  }
  return { given, positionals };
}

/** Whether the value is really the next flag: `-O --overwrite`. */
function looksLikeFlag(
  flag: Flag,
  token: { readonly value?: string | undefined; readonly inlineValue?: boolean | undefined },
): boolean {
  const { value = "", inlineValue } = token;
  if (inlineValue === true || value === "-" || !value.startsWith("-")) return false;
  return !(flag.name === "range" && /^-\d+$/.test(value));
}

function unknownFlag(rawName: string, name: string): DfgetError {
  const refusal = REFUSED_FLAGS.get(REFUSED_SHORTS.get(name) ?? name);
  if (refusal !== undefined) return usageError(`Cannot use ${rawName}: ${refusal}`);
  const nearest = name.length > 1 ? nearestFlag(name, FLAGS_BY_NAME.keys()) : undefined;
  return usageError(
    `Cannot use ${rawName}: there is no such flag${nearest === undefined ? "" : `, did you mean --${nearest}?`}`,
  );
}

/** Looks a flag up on the command line, then in the environment, where an empty variable counts as not set. */
class Values {
  readonly #given: ReadonlyMap<string, readonly string[]>;
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(
    given: ReadonlyMap<string, readonly string[]>,
    env: Readonly<Record<string, string | undefined>>,
  ) {
    this.#given = given;
    this.#env = env;
  }

  list(name: string): readonly string[] {
    return this.#given.get(name) ?? [];
  }

  isOn(name: string): boolean {
    if (this.#given.has(name)) return true;
    const variable = this.#variable(name);
    return variable !== undefined && convert(variable.name, variable.value, parseSwitch);
  }

  text(name: string): string | undefined {
    return this.#given.get(name)?.[0] ?? this.#variable(name)?.value;
  }

  converted<T>(name: string, parse: (text: string) => T): T | undefined {
    const text = this.#given.get(name)?.[0];
    if (text !== undefined) return convert(`--${name}`, text, parse);
    const variable = this.#variable(name);
    return variable === undefined ? undefined : convert(variable.name, variable.value, parse);
  }

  #variable(name: string): { name: string; value: string } | undefined {
    const variable = FLAGS_BY_NAME.get(name)?.env;
    const value = variable === undefined ? undefined : this.#env[variable];
    return variable === undefined || value === undefined || value === ""
      ? undefined
      : { name: variable, value };
  }
}

function convert<T>(subject: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw usageError(`Cannot read ${subject}: it is '${text}', ${error.message}`);
  }
}

function oneOf<const T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((each) => each === text);
    if (choice === undefined) throw new RangeError(`expected ${choices.join(", ")}`);
    return choice;
  };
}

/** Fields of one name become one, as HTTP allows (RFC 9110, section 5.3; cookies: RFC 6265, section 5.4). */
function joinHeaders(
  headers: readonly (readonly [name: string, value: string])[],
): Record<string, string> {
  const joined = new Map<string, { name: string; value: string }>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    const earlier = joined.get(key);
    if (earlier === undefined) joined.set(key, { name, value });
    else earlier.value += `${key === "cookie" ? "; " : ", "}${value}`;
  }
  return Object.fromEntries([...joined.values()].map(({ name, value }) => [name, value]));
}

function usageError(message: string): DfgetError {
  return new DfgetError("ERR_USAGE", message);
}
