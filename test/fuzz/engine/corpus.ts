import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** An input that is kept: a regression is named after what it broke, others after what they are or a part of their SHA-256. */
export interface CorpusEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** In the order of their names, so that every run sees the same. None where there is no such directory. */
export async function readCorpus(directory: string): Promise<readonly CorpusEntry[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  const entries: CorpusEntry[] = [];
  for (const name of names.toSorted()) {
    entries.push({ name, bytes: await readFile(join(directory, name)) });
  }
  return entries;
}

/** Adds an input, under its hash. @returns its name */
export async function addToCorpus(directory: string, bytes: Uint8Array): Promise<string> {
  const name = hashOf(bytes);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, name), bytes);
  return name;
}

/** The first 12 hex digits of the SHA-256. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 12);
}
