import type { StorageContext } from "./context.ts";
import { systemCode } from "./errors.ts";
import { createFile, readStart } from "./file-io.ts";

/** How far a scrub is. */
export interface ScrubCursor {
  /** What is before this in the order of ids has been looked at. */
  readonly taskId: string;
  /** Of that task, what is before this. */
  readonly pieceNumber: number;
  /** Unix milliseconds. */
  readonly passStartedAtMs: number;
}

/** Undefined: there is none, or nothing that a cursor could be. @throws what the file system throws */
export async function readScrubCursor(
  context: Pick<StorageContext, "fileSystem" | "paths">,
): Promise<ScrubCursor | undefined> {
  try {
    const bytes = await readStart(context.fileSystem, context.paths.scrub, CURSOR_LENGTH_MAX);
    return parseCursor(bytes.toString());
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Not synced: what is lost is looked at again. @throws what the file system throws */
export async function writeScrubCursor(
  context: Pick<StorageContext, "fileSystem" | "paths">,
  cursor: ScrubCursor,
): Promise<void> {
  const { scrub, scrubNew } = context.paths;
  const bytes = Buffer.from(`${JSON.stringify(cursor)}\n`);
  await createFile(context.fileSystem, scrubNew, { bytes, mode: 0o600, replace: true });
  await context.fileSystem.rename(scrubNew, scrub);
}

function parseCursor(text: string): ScrubCursor | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // Torn by a power failure: the scrub begins anew.
  }
  return isCursor(value) ? value : undefined;
}

function isCursor(value: unknown): value is ScrubCursor {
  if (typeof value !== "object" || value === null) return false;
  if (!("taskId" in value) || !("pieceNumber" in value) || !("passStartedAtMs" in value))
    return false;
  const { taskId, pieceNumber, passStartedAtMs } = value;
  return typeof taskId === "string" && isCount(pieceNumber) && isCount(passStartedAtMs);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

const CURSOR_LENGTH_MAX = 4096;
