/** Where a setting was given, so that a message can send its reader there. */
export type SettingSource =
  | { readonly kind: "file"; readonly path: string; readonly line: number }
  | { readonly kind: "environment"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

/** As in `/etc/dragonfly/dfdaemon.yaml:12`, `environment variable DFDAEMON_STORAGE_DIR` or `flag --storage-dir`. */
export function formatSource(source: SettingSource): string {
  if (source.kind === "file") return `${source.path}:${source.line}`;
  return source.kind === "flag" ? `flag ${source.name}` : `environment variable ${source.name}`;
}

/** One setting as it was given, before the schema has seen it. */
export interface GivenSetting {
  /** Keys from the top of the schema, in its spelling. */
  readonly keys: readonly string[];
  readonly value: unknown;
  readonly source: SettingSource;
}

/** What reading one source brought. */
export interface ReadSettings {
  readonly given: readonly GivenSetting[];
  /** Keys that must be corrected, one sentence each. */
  readonly problems: readonly string[];
  /** Keys that are not known, one sentence each. */
  readonly warnings: readonly string[];
}
