import type * as z from "zod";
import { describeGot, describeWanted } from "./describe-issue.ts";
import { SettingsError } from "./errors.ts";
import { knownSettings } from "./known-settings.ts";
import { readEnvironment } from "./read-environment.ts";
import { readFlags, type FlagSetting } from "./read-flags.ts";
import { readSettingsFile } from "./read-settings-file.ts";
import { formatSource, type GivenSetting, type SettingSource } from "./setting-source.ts";

export interface LoadSettingsOptions<Settings> {
  /** An object of sections and settings, every one with a default or optional; give sections `.prefault({})`. */
  readonly schema: z.ZodType<Settings>;
  /** The YAML file; none is read without it. */
  readonly path?: string | undefined;
  /** A file that is not there is an error; otherwise it is as good as an empty one. */
  readonly required?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Variables that start with this and an underscore are settings: `DFDAEMON`. */
  readonly envPrefix: string;
  /** Variables with the prefix that are something else. */
  readonly ignoredEnv?: readonly string[];
  readonly flags?: readonly FlagSetting[];
}

export interface LoadedSettings<Settings> {
  readonly settings: Settings;
  /** Unknown keys, one sentence each, for the caller to log. */
  readonly warnings: readonly string[];
  /** Where each setting that was given comes from, by dotted path; defaults are not in it. */
  readonly sources: ReadonlyMap<string, SettingSource>;
}

/**
 * Settings from flags, else from the environment, else from the file, else their defaults.
 *
 * A key that nearly matches a known one is an error that names it; any other unknown key is a warning. Every problem is in the
 * message, one a line, with the place to correct it.
 *
 * @throws {SettingsError} `ERR_SETTINGS_FILE`, `ERR_SETTINGS_SYNTAX`, `ERR_SETTINGS_KEY`, `ERR_SETTINGS_VALUE`
 */
export async function loadSettings<Settings>(
  options: LoadSettingsOptions<Settings>,
): Promise<LoadedSettings<Settings>> {
  const { schema, path, env = {}, envPrefix, ignoredEnv = [], flags = [] } = options;
  const known = knownSettings(schema);
  const file = path === undefined ? undefined : await readSettingsFile(path, known);
  if (path !== undefined && file === undefined && options.required)
    throw new SettingsError(
      "ERR_SETTINGS_FILE",
      `Cannot read settings from ${path}: there is no such file`,
    );

  // In the order of their weight: what comes later wins.
  const layers = [
    ...(file === undefined ? [] : [file]),
    readEnvironment(env, { prefix: envPrefix, known, ignored: ignoredEnv }),
    readFlags(flags, known),
  ];
  const given = layers.flatMap((layer) => layer.given);
  const sources = new Map(given.map(({ keys, source }) => [keys.join("."), source]));
  const merged = merge(given);
  const result = schema.safeParse(merged);
  const keyProblems = layers.flatMap((layer) => layer.problems);
  const valueProblems = (result.error?.issues ?? []).map((issue) =>
    describeProblem(issue, merged, sources),
  );
  const problems = [...keyProblems, ...valueProblems];
  if (!result.success || problems.length > 0) {
    throw new SettingsError(
      keyProblems.length > 0 ? "ERR_SETTINGS_KEY" : "ERR_SETTINGS_VALUE",
      `Cannot use the settings:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
    );
  }
  return {
    settings: result.data,
    warnings: layers.flatMap((layer) => layer.warnings),
    sources,
  };
}

/** A section of settings, or a value. */
type Tree = { [key: string]: unknown };

function merge(given: readonly GivenSetting[]): Tree {
  const root: Tree = {};
  for (const { keys, value } of given) {
    let section = root;
    for (const key of keys.slice(0, -1)) {
      const next = section[key];
      const below = isTree(next) ? next : {};
      section[key] = below;
      section = below;
    }
    section[keys.at(-1) ?? ""] = value;
  }
  return root;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describeProblem(
  issue: z.core.$ZodIssue,
  merged: Tree,
  sources: ReadonlyMap<string, SettingSource>,
): string {
  let value: unknown = merged;
  for (const key of issue.path)
    value = isTree(value) || Array.isArray(value) ? Reflect.get(value, key) : undefined;
  const source = nearestSource(issue.path.map(String), sources);
  const where = source === undefined ? "" : ` (${formatSource(source)})`;
  return `${issue.path.map(String).join(".")}: wanted ${describeWanted(issue)}, got ${describeGot(value, issue.path)}${where}`;
}

/** Of the setting itself, or of the list or record it is in. */
function nearestSource(
  keys: readonly string[],
  sources: ReadonlyMap<string, SettingSource>,
): SettingSource | undefined {
  for (let length = keys.length; length > 0; length--) {
    const source = sources.get(keys.slice(0, length).join("."));
    if (source !== undefined) return source;
  }
  return undefined;
}
