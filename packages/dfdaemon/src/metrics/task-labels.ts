import type { Download__Output, Priority__Output, TaskType__Output } from "@damselfly/rpc";

/** What Dragonfly tells downloads apart by. All values are texts of Prometheus. */
export interface TaskLabels {
  /** Number of the `TaskType`. */
  readonly type: string;
  readonly tag: string;
  readonly app: string;
  /** 0 to 6. */
  readonly priority: string;
}

/** Pairs of tag and application that are shown by name; all further ones count together. Each costs some 30 series. */
const NAMED_PAIRS_MAX = 100;
const NAME_LENGTH_MAX = 128;
/** In the place of names that are too many or too long; a person's own name for it would hardly have the brackets. */
export const OTHER = "(other)";

const TYPES: readonly TaskType__Output[] = ["STANDARD", "PERSISTENT", "PERSISTENT_CACHE", "CACHE"];
const PRIORITIES: readonly Priority__Output[] = [
  "LEVEL0",
  "LEVEL1",
  "LEVEL2",
  "LEVEL3",
  "LEVEL4",
  "LEVEL5",
  "LEVEL6",
];

/**
 * The labels of downloads. Tags and applications are whatever the callers invent, and every new one would be kept forever: only the
 * first hundred pairs get series of their own, until the metrics are reset.
 */
export class TaskLabeler {
  readonly #named = new Set<string>();

  labelsOf(
    download: Pick<Download__Output, "type" | "tag" | "application" | "priority">,
  ): TaskLabels {
    const { tag = "", application: app = "" } = download;
    return {
      type: indexIn(TYPES, download.type),
      ...(this.#isNamed(tag, app) ? { tag, app } : { tag: OTHER, app: OTHER }),
      priority: indexIn(PRIORITIES, download.priority),
    };
  }

  /** Forgets which names have been seen. */
  reset(): void {
    this.#named.clear();
  }

  #isNamed(tag: string, app: string): boolean {
    if (tag.length > NAME_LENGTH_MAX || app.length > NAME_LENGTH_MAX) return false;
    const pair = JSON.stringify([tag, app]);
    if (this.#named.has(pair)) return true;
    if (this.#named.size >= NAMED_PAIRS_MAX) return false;
    this.#named.add(pair);
    return true;
  }
}

/** A number that the enumeration does not have comes through as it is; it must not become a label either. */
function indexIn<Name>(names: readonly Name[], name: Name): string {
  const index = names.indexOf(name);
  return index < 0 ? OTHER : String(index);
}

/** Dragonfly's level of a size: 0 for none, 1 below 1 MiB, 2 below 4 MiB, then a level for each doubling but that from 1 to 2 GiB. */
export function taskSizeLevel(length: number): string {
  const level = length === 0 ? 0 : SIZE_LIMITS.findIndex((limit) => length < limit) + 1;
  return String(level === 0 && length > 0 ? SIZE_LIMITS.length + 1 : level);
}

const MIB = 2 ** 20;
/** The first length of the next level, from level 1 on. */
const SIZE_LIMITS: readonly number[] = [
  1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144,
  524_288, 1_048_576,
].map((mib) => mib * MIB);
