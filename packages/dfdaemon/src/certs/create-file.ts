import { randomBytes } from "node:crypto";
import { link, open, rename, rm } from "node:fs/promises";

/**
 * Creates a file whole and with its permissions from its first byte on: readers see all of it or nothing.
 *
 * @param options.mode - permission bits; the process's umask may take some away
 * @param options.replace - put it in place of one that is there
 * @throws what the file system says; `EEXIST` if it is there and is not to be replaced
 */
export async function createFile(
  path: string,
  text: string,
  options: { readonly mode: number; readonly replace: boolean },
): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const file = await open(draft, "wx", options.mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    // A link, unlike a rename, refuses to replace what somebody else has put there meanwhile.
    await (options.replace ? rename(draft, path) : link(draft, path));
  } finally {
    await rm(draft, { force: true });
  }
}
