import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino, type DestinationStream, type Logger, type StreamEntry } from "pino";
import { build as buildPretty } from "pino-pretty";
import { SettingsError } from "./errors.ts";
import { openStderr, type TextWriter } from "./open-stderr.ts";
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
  /** In place of the process's own stderr. Does not throw. */
  readonly stderr?: TextWriter | undefined;
}

/**
 * The log that a process hands to its parts. Writing is synchronous: the last words before a crash count most.
 *
 * @throws {SettingsError} `ERR_SETTINGS_FILE` when the directory's file cannot be written
 */
export function openLog(options: LogOptions): Logger {
  const { name, level, directory, console, isTerminal, stderr = openStderr() } = options;
  const streams: StreamEntry[] = [];
  if (directory !== undefined)
    streams.push({ level, stream: fileStream(directory, stderr, options) });
  if (console || directory === undefined) {
    const stream = console || isTerminal ? prettyStream(stderr, isTerminal) : stderr;
    streams.push({ level, stream });
  }
  const serializers = { err: serializeError };
  return pino(
    { name, level, base: { name }, redact: REDACTED, serializers },
    pino.multistream(streams),
  );
}

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

function fileStream(directory: string, stderr: TextWriter, options: LogOptions): DestinationStream {
  const { olderFilesMax = LOG_FILES_DEFAULT, fileLengthMax = LOG_FILE_LENGTH_DEFAULT } = options;
  const path = join(directory, `${options.name}.log`);
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    return openRotatingFile({
      path,
      lengthMax: fileLengthMax,
      olderFilesMax,
      onTrouble: (message) => stderr.write(`${message}\n`),
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SettingsError("ERR_SETTINGS_FILE", `Cannot log to ${path}: ${why}`, { cause: error });
  }
}

/** As that of the files in it, see rotating-file.ts. */
const DIRECTORY_MODE = 0o750;

function prettyStream(stderr: TextWriter, isTerminal: boolean): DestinationStream {
  return buildPretty({
    colorize: isTerminal,
    destination: writableTo(stderr),
    sync: true,
    singleLine: true,
    ignore: "name,pid,hostname",
    translateTime: "SYS:HH:MM:ss.l",
  });
}

function writableTo(target: TextWriter): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: unknown, _encoding, done): void {
      target.write(String(chunk));
      done();
    },
  });
}
