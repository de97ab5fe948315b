import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";

/** Changes come in groups: a moment without any ends one. Milliseconds. */
const QUIET_MS = 200;

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
  const onEvent = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      onChange();
    }, QUIET_MS).unref();
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
