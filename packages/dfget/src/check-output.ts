import { constants } from "node:fs";
import { access, lstat, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { DfgetError, systemErrorCode } from "./errors.ts";

/**
 * The absolute path to write to, after looking whether that can work at all, so that a mistake shows before gigabytes have been
 * fetched. Symbolic links are followed only to replace what they point to. Whoever writes checks again: this promises nothing.
 *
 * @throws {DfgetError} `ERR_OUTPUT`
 */
export async function checkOutput(
  output: string,
  options: { readonly cwd: string; readonly overwrite: boolean },
): Promise<string> {
  if (output.endsWith("/")) throw outputError(output, "it names a directory, expected a file");
  const path = resolve(options.cwd, output);
  const entry = await lookUp(lstat, path);
  if (entry?.isDirectory()) throw outputError(path, "it is a directory, expected a file");
  if (entry !== undefined && !options.overwrite) {
    throw outputError(path, "it exists already, expected a new name, or --overwrite");
  }
  const existing = entry?.isSymbolicLink() ? await lookUp(stat, path) : entry;
  // A device or a pipe would be replaced by a file: never what was meant.
  if (existing !== undefined && !existing.isFile())
    throw outputError(path, "it is not a regular file");

  const target = existing === undefined ? path : await realpath(path);
  const parent = await lookUp(stat, dirname(target));
  if (parent === undefined)
    throw outputError(path, `the directory ${dirname(target)} does not exist`);
  if (!parent.isDirectory()) throw outputError(path, `${dirname(target)} is not a directory`);
  try {
    await access(dirname(target), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw outputError(
      path,
      `the directory ${dirname(target)} is not writable (${systemErrorCode(error) ?? "unknown error"})`,
      error,
    );
  }
  return target;
}

/** Undefined if there is no such file. */
async function lookUp<T>(look: (path: string) => Promise<T>, path: string): Promise<T | undefined> {
  try {
    return await look(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return undefined;
    throw outputError(
      path,
      code === "ENOTDIR" ? "a part of its path is not a directory" : (code ?? "unknown error"),
      error,
    );
  }
}

function outputError(path: string, reason: string, cause?: unknown): DfgetError {
  return new DfgetError("ERR_OUTPUT", `Cannot write to ${path}: ${reason}`, { cause });
}
