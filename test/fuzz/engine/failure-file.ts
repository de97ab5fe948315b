import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hashOf } from "./corpus.ts";
import { decodeInputs, encodeInputs } from "./input-list.ts";
import type { FailureReport } from "./worker-protocol.ts";

/** Several inputs that fail only one after the other are in one file, each behind its length. */
const LIST_SUFFIX = ".inputs";

/**
 * Keeps what failed: the input as it is, or several of them, and beside it what happened and how to see it again.
 *
 * @returns the path
 */
export async function writeFailure(
  directory: string,
  target: string,
  failure: FailureReport,
): Promise<string> {
  const inputs = failure.inputs.map((input) => Buffer.from(input, "base64"));
  const [only] = inputs;
  const isOne = inputs.length === 1 && only !== undefined;
  const bytes = isOne ? only : encodeInputs(inputs);
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${target}-${hashOf(bytes)}${isOne ? "" : LIST_SUFFIX}`);
  await writeFile(path, bytes);
  const text = `${failure.kind}: ${failure.message}\n\n${formatReplay(target, path)}\n`;
  await writeFile(`${path}.txt`, text);
  return path;
}

/** The command that runs it again. */
export function formatReplay(target: string, path: string): string {
  return `npm run fuzz -- --target ${target} --replay ${path}`;
}

/** What a file of `writeFailure` holds, or any other: one input then. */
export async function readInputs(path: string): Promise<readonly Uint8Array[]> {
  const bytes = await readFile(path);
  return path.endsWith(LIST_SUFFIX) ? decodeInputs(bytes) : [bytes];
}
