import { randomBytes } from "node:crypto";
import { link, open, realpath, rename, rm, stat } from "node:fs/promises";

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
  await putDraft(path, text, { mode: options.mode }, async (draft) => {
    // A link, unlike a rename, refuses to replace what somebody else has put there meanwhile.
    await (options.replace ? rename(draft, path) : link(draft, path));
  });
}

/**
 * Replaces the text of a file that is there, whose permissions and owner the new one has: a daemon that could read it still can. A
 * symbolic link stays, and what it leads to is replaced.
 *
 * @throws what the file system says
 * @throws {Error} if the owner cannot be kept
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const target = await realpath(path);
  const { mode, uid, gid } = await stat(target);
  await putDraft(target, text, { mode: mode & 0o7777, owner: { uid, gid } }, (draft) =>
    rename(draft, target),
  );
}

async function putDraft(
  path: string,
  text: string,
  rights: {
    readonly mode: number;
    readonly owner?: { readonly uid: number; readonly gid: number };
  },
  put: (draft: string) => Promise<void>,
): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    // Nobody else reads it before it has the rights that it is to have.
    const file = await open(draft, "wx", rights.owner === undefined ? rights.mode : 0o600);
    try {
      await file.writeFile(text);
      if (rights.owner !== undefined) {
        const { uid, gid } = rights.owner;
        const own = await file.stat();
        if (own.uid !== uid || own.gid !== gid)
          await file.chown(uid, gid).catch((cause: unknown) => {
            throw new Error(`its owner (${uid}:${gid}) cannot be kept: run this as root`, {
              cause,
            });
          });
        await file.chmod(rights.mode);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await put(draft);
  } finally {
    await rm(draft, { force: true });
  }
}
