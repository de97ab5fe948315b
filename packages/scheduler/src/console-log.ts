import { Writable } from "node:stream";

/** A destination for pino whose lines are for people: `12:30:05.120 WARN  host has not announced itself host=10.0.0.1-a`. */
export function createConsoleLog(target: { write(text: string): unknown }): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: unknown, _encoding, done): void {
      for (const line of String(chunk).split("\n")) if (line !== "") target.write(format(line));
      done();
    },
  });
}

/** By pino's numbers. */
const LEVELS: Readonly<Record<number, string>> = {
  10: "TRACE",
  20: "DEBUG",
  30: "INFO",
  40: "WARN",
  50: "ERROR",
  60: "FATAL",
};

function format(line: string): string {
  const { time, level, msg, err, ...fields }: LogLine = JSON.parse(line);
  const clock = new Date(time).toISOString().slice(11, 23);
  const words = Object.entries(fields).map(([name, value]) => ` ${name}=${show(value)}`);
  const reason = err?.message === undefined ? "" : `: ${err.message}`;
  return `${clock} ${(LEVELS[level] ?? "").padEnd(5)} ${msg}${reason}${words.join("")}\n`;
}

interface LogLine {
  readonly time: number;
  readonly level: number;
  readonly msg: string;
  readonly err?: { readonly message?: string };
  readonly [field: string]: unknown;
}

function show(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
