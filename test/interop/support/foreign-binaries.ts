import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join, sep } from "node:path";

/** Paths of Dragonfly's own executables, and what they say they are. */
export interface ForeignBinaries {
  readonly dfdaemon: string;
  readonly dfget: string;
  readonly scheduler: string;
  /** Of dfdaemon, as in `1.5.10`. */
  readonly version: string;
}

/** Of each, the names that people give it. */
const NAMES = [["dfdaemon"], ["dfget"], ["dragonfly-scheduler", "scheduler"]] as const;

/**
 * Looks for Dragonfly's executables in `DAMSELFLY_INTEROP_BIN` (directories, separated as in PATH), else in PATH itself.
 *
 * @returns a sentence that says what is missing, where one is
 */
export function findForeignBinaries(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ForeignBinaries | string {
  const given = environment["DAMSELFLY_INTEROP_BIN"];
  const directories = (given ?? environment["PATH"] ?? "")
    .split(delimiter)
    // Our own dfdaemon and dfget lie there when npm runs this.
    .filter((directory) => directory !== "" && !directory.includes(`${sep}node_modules${sep}`));
  const [dfdaemon, dfget, scheduler] = NAMES.map((names) => findExecutable(directories, names));
  if (dfdaemon === undefined || dfget === undefined || scheduler === undefined) {
    const missing = NAMES[[dfdaemon, dfget, scheduler].indexOf(undefined)] ?? [];
    const place = given ?? "PATH (DAMSELFLY_INTEROP_BIN is not set)";
    return `there is no ${missing.join(" or ")} in ${place}`;
  }
  const version = versionOf(dfdaemon);
  if (version === undefined) return `${dfdaemon} is not Dragonfly's`;
  return { dfdaemon, dfget, scheduler, version };
}

function findExecutable(
  directories: readonly string[],
  names: readonly string[],
): string | undefined {
  const paths = names.flatMap((name) => directories.map((directory) => join(directory, name)));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Undefined unless it answers as Dragonfly's does, with its commit in brackets: ours has none. */
function versionOf(dfdaemon: string): string | undefined {
  try {
    const said = execFileSync(dfdaemon, ["--version"], { encoding: "utf8", timeout: 20_000 });
    return /^dfdaemon (\S+) \(/.exec(said)?.[1];
  } catch {
    return undefined;
  }
}
