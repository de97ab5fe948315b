import { renameSync, statSync } from "node:fs";
import { openDestination } from "./open-destination.ts";

/** The daemon's group may read the log, as is the custom in /var/log; nobody else. */
const FILE_MODE = 0o640;

export interface RotatingFileOptions {
  readonly path: string;
  /** A line that would make the file longer begins a new one. Bytes. */
  readonly lengthMax: number;
  /** Kept besides the current one, at least 1: `path.1` is the youngest. */
  readonly olderFilesMax: number;
  /** Told when lines cannot be written or files not renamed: once, and again after things went well in between. */
  readonly onTrouble: (message: string) => void;
}

export interface RotatingFile {
  /** Returns when the kernel has the line: no crash of this process loses it. */
  write(line: string): void;
}

/**
 * Appends lines to the file at `path`, which stays the current one: full, it is renamed to `path.1`, and that one to `path.2`, as
 * Dragonfly's daemon does it. A disk without room never throws; the first lines that found none are written once there is some.
 *
 * @throws the system's error when the file cannot be opened
 */
export function openRotatingFile(options: RotatingFileOptions): RotatingFile {
  const { path, lengthMax, olderFilesMax, onTrouble } = options;
  const file = openDestination({ dest: path, mode: FILE_MODE });
  // Each reopening listens until the next tick; many small files in one tick are no leak.
  file.setMaxListeners(0);
  let length = statSync(path).size;
  let isTroubled = false;
  const complain = (doing: string, error: unknown): void => {
    if (!isTroubled)
      onTrouble(`Cannot ${doing}: ${error instanceof Error ? error.message : String(error)}`);
    isTroubled = true;
  };
  file.on("error", (error: unknown) => complain(`write the log ${path}`, error));
  file.on("write", () => (isTroubled = false));

  const rotate = (): void => {
    // Whether it works or not: the next attempt is a file's length away.
    length = 0;
    try {
      for (let age = olderFilesMax; age > 0; age--) renameIfThere(nameOf(age - 1), nameOf(age));
      file.reopen();
    } catch (error) {
      complain(`begin a new log after ${path}`, error);
    }
  };
  const nameOf = (age: number): string => (age === 0 ? path : `${path}.${age}`);

  return {
    write(line) {
      const lineLength = Buffer.byteLength(line);
      if (length > 0 && length + lineLength > lengthMax) rotate();
      length += lineLength;
      file.write(line);
    },
  };
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
