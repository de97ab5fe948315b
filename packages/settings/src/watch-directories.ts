import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import { performance } from "node:perf_hooks";

/** Changes come in groups: what comes so soon after the first belongs to it. Milliseconds. */
const GROUP_MS = 200;
/** Something else may be going on in the directory all the time. Milliseconds. */
const INTERVAL_MS = 1_000;

/**
 * Calls `onChange` soon after something happened to one of these files, as far as the system tells: on network mounts, and
 * where there are no watches left, it does not. The directories are watched, so that a file that is replaced, or the
 * symbolic link that leads to it, is seen as well.
 *
 * @returns what ends it
 */
export function watchDirectories(paths: readonly string[], onChange: () => void): () => void {
  const watchers = new Set<FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let toldAt = Number.NEGATIVE_INFINITY;
  const onEvent = (): void => {
    const waitMs = Math.max(GROUP_MS, toldAt + INTERVAL_MS - performance.now());
    timer ??= setTimeout(() => {
      timer = undefined;
      toldAt = performance.now();
      onChange();
    }, waitMs).unref();
  };
  for (const directory of new Set(paths.map((path) => dirname(path)))) {
    try {
      const watcher = watch(directory, { persistent: false }, onEvent);
      // What cannot be watched any more is looked at by the clock alone.
      watcher.on("error", () => {
        watcher.close();
        watchers.delete(watcher);
      });
      watchers.add(watcher);
    } catch {
      // Likewise.
    }
  }
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
