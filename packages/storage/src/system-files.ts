import { constants } from "node:fs";
import {
  access,
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rmdir,
  stat,
  statfs,
  unlink,
  utimes,
} from "node:fs/promises";

import { systemCode } from "./errors.ts";
import type { FileSystem } from "./file-system.ts";
import { acquireLock } from "./lock.ts";

/** The files of this machine. */
export const SYSTEM_FILES: FileSystem = {
  open,
  lstat: (path) => lstat(path, { bigint: true }),
  stat: (path) => stat(path, { bigint: true }),
  statfs,
  access,
  readdir,
  mkdir: (path, mode) => mkdir(path, { mode: mode ?? 0o777 }).then(() => undefined),
  rmdir,
  link,
  rename,
  unlink,
  clone: (from, to) =>
    copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL),
  utimes: (path, atMs) => utimes(path, atMs / 1000, atMs / 1000),
  async syncDirectory(path) {
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } catch (error) {
      // Some file systems have no such thing: network shares, and what runs as a program.
      if (!SYNC_UNKNOWN.has(systemCode(error) ?? "")) throw error;
    } finally {
      await handle.close();
    }
  },
  lock: acquireLock,
};

const SYNC_UNKNOWN: ReadonlySet<string> = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);
