import { childOf, valuesOf, type KnownSetting } from "./known-settings.ts";
import { foldName, nearestName } from "./nearest-name.ts";
import { parseSettingText } from "./parse-setting-text.ts";
import type { GivenSetting, ReadSettings } from "./setting-source.ts";

/** A setting given on the command line. */
export interface FlagSetting {
  /** As the user wrote it, for messages: `--storage-dir` or `--set`. */
  readonly flag: string;
  /** Dotted path of the setting: `storage.dir`; underscores are accepted. */
  readonly path: string;
  /** A text is read as one from the environment is. */
  readonly value: unknown;
}

/** Reads flags against the keys of a schema. The last one wins; one that names no setting is a problem, never a warning. */
export function readFlags(flags: readonly FlagSetting[], known: KnownSetting): ReadSettings {
  const given: GivenSetting[] = [];
  const problems: string[] = [];
  for (const { flag, path, value } of flags) {
    const setting = findSetting(known, path);
    if (setting === undefined) {
      problems.push(`flag ${flag}: ${path} is no known setting${hint(known, path)}`);
      continue;
    }
    given.push({
      keys: setting.keys,
      value: typeof value === "string" ? parseSettingText(value, setting.schema) : value,
      source: { kind: "flag", name: flag },
    });
  }
  return { given, problems, warnings: [] };
}

function findSetting(known: KnownSetting, path: string): KnownSetting | undefined {
  let at: KnownSetting | undefined = known;
  for (const key of path.split(".")) at = at === undefined ? undefined : childOf(at, key);
  return at?.children === undefined ? at : undefined;
}

function hint(known: KnownSetting, path: string): string {
  const paths = valuesOf(known).map(({ keys }) => keys.join("."));
  const last = foldName(path.slice(path.lastIndexOf(".") + 1));
  const nearest =
    nearestName(path, paths) ??
    paths.find((one) => foldName(one.slice(one.lastIndexOf(".") + 1)) === last);
  return nearest === undefined ? "" : `, the nearest one is ${nearest}`;
}
