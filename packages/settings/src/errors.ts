/** What is wrong with the settings. Stable API: callers switch on it. */
export type SettingsErrorCode =
  /** The file is not there, or cannot be read. */
  | "ERR_SETTINGS_FILE"
  /** The file is no YAML, or no mapping. */
  | "ERR_SETTINGS_SYNTAX"
  /** A key that is nearly, but not quite, one that exists. */
  | "ERR_SETTINGS_KEY"
  /** A value that is not what its key takes. */
  | "ERR_SETTINGS_VALUE"
  /** Certificates that are half given, unreadable, out of date or do not belong together. */
  | "ERR_SETTINGS_TLS";

/**
 * Settings that a person has to correct before the program can start. The message says which file, line, variable or flag, what is
 * there and what is wanted, one problem a line.
 */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly code: SettingsErrorCode;

  constructor(code: SettingsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
