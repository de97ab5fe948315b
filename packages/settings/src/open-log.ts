import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino, type DestinationStream, type Logger, type StreamEntry } from "pino";
import { build as buildPretty } from "pino-pretty";
import { SettingsError } from "./errors.ts";
import { openRotatingFile } from "./rotating-file.ts";
import { serializeError } from "./serialize-error.ts";

/** Dragonfly's: six old files of 1 GiB besides the current one. */
export const LOG_FILES_DEFAULT = 6;
export const LOG_FILE_LENGTH_DEFAULT: number = 2 ** 30;

export interface LogOptions {
  /** `dfdaemon`: names the file, and every line. */
  readonly name: string;
  readonly level: "trace" | "debug" | "info" | "warn" | "error";
  /** Where `<name>.log` is appended to, as JSON lines; undefined: no file. Created if missing. */
  readonly directory?: string | undefined;
  /** Full files kept besides the current one, `<name>.log.1` the youngest; 6 unless given. */
  readonly olderFilesMax?: number | undefined;
  /** When a file is full, in bytes; 1 GiB unless given. */
  readonly fileLengthMax?: number | undefined;
  /** Lines for people on stderr: forced by true; otherwise only without a directory. */
  readonly console: boolean;
  /** Whether stderr is a terminal: without one its lines are JSON, unless `console` is true. */
  readonly isTerminal: boolean;
  /** In place of the process's own stderr, for tests. */
  readonly stderr?: { write(text: string): unknown } | undefined;
}

/**
 * The log that a process hands to its parts. Writing is synchronous: the last words before a crash count most.
 *
 * @throws {SettingsError} `ERR_SETTINGS_FILE` when the directory's file cannot be written
 */
export function openLog(options: LogOptions): Logger {
  const { name, level, directory, console, isTerminal } = options;
  const streams: StreamEntry[] = [];
  if (directory !== undefined) streams.push({ level, stream: fileStream(directory, options) });
  if (console || directory === undefined) {
    const stream = console || isTerminal ? prettyStream(options) : plainStream(options);
    streams.push({ level, stream });
  }
  const serializers = { err: serializeError };
  return pino(
    { name, level, base: { name }, redact: REDACTED, serializers },
    pino.multistream(streams),
  );
}

const STDERR = 2;

/** Fields that would be secrets if anybody logged them; nobody should. */
const REDACTED = [
  "authorization",
  "*.authorization",
  "cookie",
  "*.cookie",
  "header",
  "*.header",
  "requestHeader",
  "*.requestHeader",
];

function fileStream(directory: string, options: LogOptions): DestinationStream {
  const { olderFilesMax = LOG_FILES_DEFAULT, fileLengthMax = LOG_FILE_LENGTH_DEFAULT } = options;
  const path = join(directory, `${options.name}.log`);
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    return openRotatingFile({
      path,
      lengthMax: fileLengthMax,
      olderFilesMax,
      onTrouble: (message) => (options.stderr ?? process.stderr).write(`${message}\n`),
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SettingsError("ERR_SETTINGS_FILE", `Cannot log to ${path}: ${why}`, { cause: error });
  }
}

/** As that of the files in it, see rotating-file.ts. */
const DIRECTORY_MODE = 0o750;

function plainStream({ stderr }: LogOptions): DestinationStream {
  if (stderr === undefined) return pino.destination({ dest: STDERR, sync: true });
  return { write: (line) => void stderr.write(line) };
}

function prettyStream({ isTerminal, stderr }: LogOptions): DestinationStream {
  return buildPretty({
    colorize: isTerminal,
    destination: stderr === undefined ? STDERR : writableTo(stderr),
    sync: true,
    singleLine: true,
    ignore: "name,pid,hostname",
    translateTime: "SYS:HH:MM:ss.l",
  });
}

function writableTo(target: { write(text: string): unknown }): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: unknown, _encoding, done): void {
      target.write(String(chunk));
      done();
    },
  });
}
