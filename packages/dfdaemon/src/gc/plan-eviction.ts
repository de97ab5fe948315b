import type { Lack, StorageUsage, TaskUsage } from "@damselfly/storage";

/** What to keep. */
export interface EvictionPolicy {
  /** A task that nobody used for longer is deleted. Milliseconds. */
  readonly taskTtlMs: number;
  /** Bytes that the cache may take; 0: it is the disk that counts, whoever has filled it. */
  readonly quotaBytes: number;
  /** From so much of that on, tasks are evicted. */
  readonly highPercent: number;
  /** Down to so much. */
  readonly lowPercent: number;
}

export interface Eviction {
  readonly taskId: string;
  /** `expired`: nobody used it for too long. `room`: it was in the way of others. */
  readonly reason: "expired" | "room";
  /** What the cache takes less without it. */
  readonly bytes: number;
  /** What the disk has more without it. */
  readonly freeableBytes: number;
}

export interface EvictionPlan {
  /** In this order. */
  readonly evictions: readonly Eviction[];
  /** What there is too little of all the same: the rest is pinned, in use, or not ours. */
  readonly shortBytes: number;
}

/**
 * Chooses the tasks to delete. Those that are pinned or in use are never among them.
 *
 * Whatever nobody has used for too long goes. If more than the high mark is taken then, counting what running downloads will still need,
 * the least recently used go until the low mark is reached, or `need` is met. Content that a user has as a hard link gives nothing back to
 * the disk: it goes for the sake of the quota only, after all others.
 */
export function planEviction(
  usage: StorageUsage,
  policy: EvictionPolicy,
  options: { readonly nowMs: number; readonly need?: Lack },
): EvictionPlan {
  const { nowMs, need } = options;
  const free = usage.tasks.filter(({ pinned, busy }) => !pinned && !busy);
  const isExpired = ({ usedAtMs }: TaskUsage): boolean => nowMs - usedAtMs > policy.taskTtlMs;
  const expired = free.filter(isExpired).toSorted(byUse);
  const others = free.filter((task) => !isExpired(task)).toSorted(byUse);

  const goals = goalsOf(usage, policy, need);
  const evictions = expired.map((task) => toEviction(task, "expired"));
  for (const eviction of evictions) goals.take(eviction);
  for (const task of [
    ...others.filter(isOurAlone),
    ...others.filter((each) => !isOurAlone(each)),
  ]) {
    if (goals.isMet) break;
    if (!goals.isHelpedBy(task)) continue;
    const eviction = toEviction(task, "room");
    goals.take(eviction);
    evictions.push(eviction);
  }
  return { evictions, shortBytes: goals.shortBytes };
}

/** Bytes that are to come free, of the quota and of the disk. */
class Goals {
  #quotaBytes: number;
  #diskBytes: number;

  constructor(goals: { readonly quotaBytes: number; readonly diskBytes: number }) {
    this.#quotaBytes = goals.quotaBytes;
    this.#diskBytes = goals.diskBytes;
  }

  get isMet(): boolean {
    return this.shortBytes === 0;
  }

  get shortBytes(): number {
    return Math.max(0, this.#quotaBytes, this.#diskBytes);
  }

  isHelpedBy(task: TaskUsage): boolean {
    return this.#quotaBytes > 0 || (this.#diskBytes > 0 && isOurAlone(task));
  }

  take({ bytes, freeableBytes }: Pick<Eviction, "bytes" | "freeableBytes">): void {
    this.#quotaBytes -= bytes;
    this.#diskBytes -= freeableBytes;
  }
}

function goalsOf(usage: StorageUsage, policy: EvictionPolicy, need: Lack | undefined): Goals {
  const { quotaBytes, highPercent, lowPercent } = policy;
  const { totalBytes, freeBytes } = usage.disk;
  const [limit, taken] =
    quotaBytes > 0 ? [quotaBytes, usage.bytes] : [totalBytes, totalBytes - freeBytes];
  const used = taken + usage.reservedBytes;
  const surplus =
    used >= (limit * highPercent) / 100 ? Math.ceil(used - (limit * lowPercent) / 100) : 0;
  const needed = (of: Lack["of"]): number => (need?.of === of ? need.bytes : 0);
  return new Goals({
    quotaBytes: Math.max(quotaBytes > 0 ? surplus : 0, needed("quota")),
    diskBytes: Math.max(quotaBytes > 0 ? 0 : surplus, needed("disk")),
  });
}

/** Least recently used first; of two, the same one each time. */
function byUse(a: TaskUsage, b: TaskUsage): number {
  return a.usedAtMs - b.usedAtMs || (a.taskId < b.taskId ? -1 : 1);
}

/** Most of it comes back to the disk. */
function isOurAlone({ bytes, freeableBytes }: TaskUsage): boolean {
  return freeableBytes * 2 >= bytes;
}

function toEviction(task: TaskUsage, reason: Eviction["reason"]): Eviction {
  const { taskId, bytes, freeableBytes } = task;
  return { taskId, reason, bytes, freeableBytes };
}
