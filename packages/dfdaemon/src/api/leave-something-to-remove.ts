import { writeFile } from "node:fs/promises";

/**
 * Puts an empty file at the place of an output that will not come, if nothing is there.
 *
 * Dragonfly's dfget removes the output when a download fails, and where there is none it says "No such file or directory" instead of why the
 * download failed (client 1.5.10, dfget/main.rs): its own daemon links the output before the first byte is there, ours when the last one is.
 * Callers that are no tonic, our own dfget among them, are never left such a file.
 */
export async function leaveSomethingToRemove(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  // Where it cannot be written, the output could not either: then the message stays what it is.
  await writeFile(path, "", { flag: "wx", mode: 0o600 }).catch(() => {});
}
