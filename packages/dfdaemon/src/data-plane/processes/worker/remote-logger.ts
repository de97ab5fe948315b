import type { Logger } from "../../../logger.ts";
import { messageOf } from "../../../message-of.ts";
import type { ControlMethods } from "../protocol.ts";

type Entry = Parameters<ControlMethods["log"]>[0];

/** A logger whose lines are written by another process, to which they go as plain data. */
export function createRemoteLogger(send: (entry: Entry) => void): Logger {
  const at =
    (level: Entry["level"]) =>
    (fields: object, message: string): void =>
      send({ level, fields: plain(fields), message });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Errors lose what is not for people; so does anything that cannot be cloned. */
function plain(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, isPlain(value) ? value : textOf(value)]),
  );
}

function isPlain(value: unknown): boolean {
  return value === null || ["string", "number", "boolean", "undefined"].includes(typeof value);
}

function textOf(value: unknown): string {
  if (value instanceof Error) return messageOf(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value); // A bigint in it, or a circle.
  }
}
