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
 * the deeper one is meant. A variable without a value counts as absent, and so does one that Kubernetes makes of a Service whose name
 * begins with the prefix.
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
    if (isServiceLink(rest, text)) continue;
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

/** `{SERVICE}_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_{NAME}`; and after Docker's links, with `tcp://10.0.0.1:8002` in the first, `{SERVICE}_PORT`, `…_PORT_8002_TCP`, … */
const SERVICE_VARIABLE =
  /^(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const SERVICE_URL_VARIABLE = /^(\w+_)?PORT$/;
const SERVICE_URL = /^(tcp|udp|sctp):\/\//;

/**
 * Whether Kubernetes has put a variable into every container that runs beside a Service. Its names depend on the Service's, which here
 * begins like the program's; nobody can be told to name settings otherwise.
 *
 * @param rest its name after the prefix
 */
function isServiceLink(rest: string, text: string): boolean {
  return SERVICE_VARIABLE.test(rest) || (SERVICE_URL_VARIABLE.test(rest) && SERVICE_URL.test(text));
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
