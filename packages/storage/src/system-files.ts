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
    } finally {
      await handle.close();
    }
  },
  lock: acquireLock,
};
