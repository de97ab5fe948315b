/** The part of pino's logger that the scheduler uses; handed in, never imported. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
