import { status } from "@damselfly/rpc";
import type { StorageUsage, StoredTask, TaskUsage } from "@damselfly/storage";

/** A task on disk, as far as it is known. */
export interface Cached {
  readonly usage: TaskUsage;
  /** Undefined: it cannot be read. */
  readonly task: StoredTask | undefined;
}

/** Everything on disk, least recently used first. */
export function cachedOf(usage: StorageUsage, tasks: readonly StoredTask[]): Cached[] {
  const byId = new Map(tasks.map((task) => [task.facts.taskId, task]));
  return usage.tasks
    .map((each) => ({ usage: each, task: byId.get(each.taskId) }))
    .toSorted((a, b) => a.usage.usedAtMs - b.usage.usedAtMs);
}

/**
 * The ids of what people name: a task id, the first digits of one, or the URL that it was read from.
 *
 * @throws {RpcError} `NOT_FOUND` if nothing is called that; `FAILED_PRECONDITION` if more than one is; `INVALID_ARGUMENT` for too few digits
 */
export function findCached(cached: readonly Cached[], names: readonly string[]): string[] {
  return [...new Set(names.map((name) => findOne(cached, name)))];
}

function findOne(cached: readonly Cached[], name: string): string {
  const isUrl = name.includes("://");
  if (!isUrl && !/^[0-9a-f]{4,64}$/.test(name)) {
    throw status(
      "INVALID_ARGUMENT",
      `Cannot find ${JSON.stringify(name.slice(0, 200))} in the cache: expected a URL, a task id, or at least four of its first digits`,
    );
  }
  const found = cached.filter(({ usage, task }) =>
    isUrl ? task?.facts.url === name : usage.taskId.startsWith(name),
  );
  const [first] = found;
  if (first === undefined)
    throw status("NOT_FOUND", `Cannot find ${shown(name, isUrl)} in the cache: it is not here`);
  if (found.length > 1) {
    const ids = found.map(({ usage }) => usage.taskId.slice(0, 16)).join(", ");
    throw status(
      "FAILED_PRECONDITION",
      `Cannot tell which one is meant by ${shown(name, isUrl)}: there are ${ids}`,
    );
  }
  return first.usage.taskId;
}

/** What comes back to the caller is his own; but errors are logged as well, and a URL may hold a token. */
function shown(name: string, isUrl: boolean): string {
  return isUrl ? "that URL" : name;
}
