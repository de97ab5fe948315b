/** What this package needs of a logger; pino's fits. URLs and headers of a task are never handed to it. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export const SILENT: Logger = { info: () => undefined, warn: () => undefined };
