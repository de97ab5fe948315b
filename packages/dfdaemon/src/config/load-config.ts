import {
  formatSource,
  loadSettings,
  type FlagSetting,
  type SettingSource,
} from "@damselfly/settings";
import type { Config } from "./config.ts";
import { configSchema } from "./config-schema.ts";
import { DEFAULT_CONFIG_PATH } from "./default-paths.ts";
import { dropInNotes } from "./drop-in-notes.ts";
import { inertSettings } from "./inert-settings.ts";

export const ENV_PREFIX = "DFDAEMON";

/** Variables that stand for flags rather than settings. */
export const FLAG_VARIABLES: readonly string[] = [
  "DFDAEMON_CONFIG",
  "DFDAEMON_DYNCONFIG",
  "DFDAEMON_LOG_LEVEL",
  "DFDAEMON_LOG_DIR",
  "DFDAEMON_LOG_MAX_FILES",
  "DFDAEMON_LOG_MAX_FILE_SIZE",
  "DFDAEMON_CONSOLE",
];

export interface LoadedConfig {
  readonly config: Config;
  /** Unknown keys and choices that were overruled, one sentence each, for the log. */
  readonly warnings: readonly string[];
  /** Dragonfly's keys that were given and have no effect here, a line for each reason, for the log. */
  readonly inert: readonly string[];
  /** What is otherwise than in Dragonfly, where the file is one of Dragonfly's, one sentence each, for the log. */
  readonly notes: readonly string[];
}

/**
 * The daemon's settings from flags, environment and file.
 *
 * @param options.pathGiven - somebody asked for this very file: then it must be there
 * @throws {SettingsError} naming everything that has to be corrected
 */
export async function loadConfig(options: {
  readonly path?: string;
  readonly pathGiven?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly flags?: readonly FlagSetting[];
}): Promise<LoadedConfig> {
  const { path = DEFAULT_CONFIG_PATH, pathGiven = false, env = {}, flags = [] } = options;
  const { settings, warnings, sources } = await loadSettings({
    schema: configSchema,
    path,
    required: pathGiven,
    env,
    envPrefix: ENV_PREFIX,
    ignoredEnv: FLAG_VARIABLES,
    flags,
  });
  const inert = inertSettings(configSchema, sources);
  return {
    config: settings,
    warnings: [...warnings, ...overruled(sources)],
    inert,
    notes: dropInNotes(settings, { sources, isForeign: inert.length > 0 }),
  };
}

/** Keys of Dragonfly's that lose against ours. */
function overruled(sources: ReadonlyMap<string, SettingSource>): string[] {
  return OVERRULED.flatMap(([theirs, ours]) => {
    const source = sources.get(theirs);
    if (source === undefined || !sources.has(ours)) return [];
    return [`${theirs} is ignored (${formatSource(source)}): ${ours} is given`];
  });
}

const OVERRULED = [
  ["storage.server.quicPort", "storage.server.quic.port"],
  ["download.protocol", "storage.server.protocol"],
] as const;
