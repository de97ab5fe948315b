import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A file system of its own, in memory, at a directory that is there. */
export interface SmallDisk {
  readOnly(): Promise<void>;
  writable(): Promise<void>;
  /** Idempotent; files that are open stay so. */
  unmount(): Promise<void>;
}

/** Undefined where it may not be mounted: that takes root, and the right to. */
export async function mountSmallDisk(
  path: string,
  options: { readonly bytes: number },
): Promise<SmallDisk | undefined> {
  const size = `size=${options.bytes}`;
  try {
    await run("mount", ["-t", "tmpfs", "-o", size, "tmpfs", path]);
  } catch {
    return undefined;
  }
  let isMounted = true;
  const remount = async (mode: "ro" | "rw"): Promise<void> => {
    await run("mount", ["-o", `remount,${mode}`, path]);
  };
  return {
    readOnly: () => remount("ro"),
    writable: () => remount("rw"),
    async unmount() {
      if (!isMounted) return;
      isMounted = false;
      await run("umount", ["-l", path]);
    },
  };
}
