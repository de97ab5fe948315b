/** What a server has to say. A pino logger is one. */
export interface TcpLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
