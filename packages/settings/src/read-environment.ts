import { valuesOf, type KnownSetting } from "./known-settings.ts";
import { foldName, nearestName } from "./nearest-name.ts";
import { parseSettingText } from "./parse-setting-text.ts";
import {
  formatSource,
  type GivenSetting,
  type ReadSettings,
  type SettingSource,
} from "./setting-source.ts";

/**
 * Reads the variables that start with `{prefix}_` against the keys of a schema: `DFDAEMON_STORAGE_SERVER_PROTOCOL` is
 * `storage.server.protocol`. Case and underscores do not matter; where two keys are spelt alike so (`quic.port`, `quicPort`),
 * the deeper one is meant. A variable without a value counts as absent.
 *
 * @param options.ignored - names that are not settings and raise no warning
 */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  options: {
    readonly prefix: string;
    readonly known: KnownSetting;
    readonly ignored?: readonly string[];
  },
): ReadSettings {
  const prefix = `${options.prefix}_`;
  const byName = variableNames(options.known);
  const read = { given: [] as GivenSetting[], problems: [] as string[], warnings: [] as string[] };
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === "" || !name.startsWith(prefix)) continue;
    if (options.ignored?.includes(name)) continue;
    const source: SettingSource = { kind: "environment", name };
    const rest = name.slice(prefix.length);
    const setting = byName.get(foldName(rest));
    if (setting !== undefined) {
      const value = parseSettingText(text, setting.schema);
      read.given.push({ keys: setting.keys, value, source });
      continue;
    }
    const nearest = nearestName(rest, byName.keys());
    if (nearest === undefined) {
      read.warnings.push(`${formatSource(source)} names no known setting and is ignored`);
    } else {
      const { keys } = byName.get(nearest)!;
      read.problems.push(
        `${formatSource(source)} names no known setting, the nearest one is ${keys.join(".")} (${formatVariable(options.prefix, keys)})`,
      );
    }
  }
  return read;
}

/** The usual spelling of a setting's variable: `DFDAEMON_STORAGE_SERVER_QUIC_IDLE_TIMEOUT`. */
export function formatVariable(prefix: string, keys: readonly string[]): string {
  const words = keys.map((key) => key.replaceAll(/([a-z])([A-Z]|\d[A-Z])/g, "$1_$2"));
  return [prefix, ...words].join("_").toUpperCase();
}

function variableNames(known: KnownSetting): Map<string, KnownSetting> {
  const byName = new Map<string, KnownSetting>();
  for (const setting of valuesOf(known)) {
    const name = foldName(setting.keys.join(""));
    const rival = byName.get(name);
    if (rival === undefined || rival.keys.length < setting.keys.length) byName.set(name, setting);
  }
  return byName;
}
