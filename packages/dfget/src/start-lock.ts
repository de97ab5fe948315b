import { randomBytes } from "node:crypto";
import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";

import { systemErrorCode } from "./errors.ts";

/**
 * Takes the lock at `path` for this process, or returns undefined while another living process of this machine holds it.
 * It keeps several dfgets from starting a daemon each. It is a courtesy, not a safeguard: the daemon locks its storage itself.
 */
export async function tryStartLock(
  path: string,
  pid: number,
): Promise<AsyncDisposable | undefined> {
  const own = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(own, String(pid), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      try {
        // A link appears with its content: nobody ever reads an empty lock.
        await link(own, path);
        return { [Symbol.asyncDispose]: () => removeIfThere(path) };
      } catch (error) {
        if (systemErrorCode(error) !== "EEXIST") throw error;
      }
      if (await isHeld(path)) return undefined;
      await removeStale(path);
    }
    return undefined;
  } finally {
    await removeIfThere(own);
  }
}

/** Enough for a holder that leaves and a stale lock that others remove at the same moment. */
const ATTEMPTS = 5;

async function isHeld(path: string): Promise<boolean> {
  try {
    return isAlive(Number(await readFile(path, "utf8")));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** Renamed first, so that of several who saw the same stale lock each removes a different file. */
async function removeStale(path: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString("hex")}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return;
    throw error;
  }
  await unlink(aside);
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
}

/** Signal 0 is not sent: it asks only. */
function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
