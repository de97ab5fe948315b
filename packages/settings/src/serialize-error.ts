import { stdSerializers } from "pino";

/**
 * An error as a log line has it: class, message with those of its causes, and what else it says of itself. Where in the program it was made
 * is added only if it has no `code`: then nobody expected it, and whoever reads it has to look into the program. What is no error stays as it is:
 * of one that comes from another process there is its message alone.
 */
export function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { stack, ...fields } = stdSerializers.err(error);
  return typeof fields["code"] === "string" ? fields : { ...fields, stack };
}
