/** The part of pino's logger that the daemon's parts use; handed in, never imported. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing: for tests, and for parts that nobody listens to. */
export const SILENT_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
