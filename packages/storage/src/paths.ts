import { join } from "node:path";

import { StorageError } from "./errors.ts";

/**
 * Every name on disk, in one place:
 *
 *     <directory>/damselfly/format                     version of this layout
 *                           lock/<random>              socket that is listened on while the storage is open
 *                           content/abc/abc…           one file a task, pieces at their offsets
 *                           content/abc/abc….journal   what is known about it, see journal-format.ts
 *                           content/abc/abc….journal.damaged-1   set aside for inspection, never read again
 *                           content/abc/abc….new, abc….journal.new   half-made replacements
 *                           content/abc/abc….pinned    is there while the task is to stay, empty
 *                           spool/<random>             content of unknown length on its way in
 *                           outputs/<random>           holds the path of a temporary file next to a user's output
 *                           scrub                      how far the scrub is, see scrub-cursor.ts; scrub.new: the next one in the making
 */
export class Paths {
  readonly root: string;
  readonly format: string;
  readonly formatNew: string;
  readonly lock: string;
  readonly content: string;
  readonly spool: string;
  readonly outputs: string;
  readonly scrub: string;
  readonly scrubNew: string;

  constructor(directory: string) {
    this.root = join(directory, "damselfly");
    this.format = join(this.root, "format");
    this.formatNew = `${this.format}${NEW}`;
    this.lock = join(this.root, "lock");
    this.content = join(this.root, "content");
    this.spool = join(this.root, "spool");
    this.outputs = join(this.root, "outputs");
    this.scrub = join(this.root, "scrub");
    this.scrubNew = `${this.scrub}${NEW}`;
  }

  /** The files of one task. @throws {StorageError} `ERR_TASK_ID` */
  task(taskId: string): TaskPaths {
    assertTaskId(taskId);
    const directory = join(this.content, taskId.slice(0, PREFIX_LENGTH));
    const content = join(directory, taskId);
    const journal = `${content}${JOURNAL}`;
    return {
      directory,
      content,
      contentNew: `${content}${NEW}`,
      journal,
      journalNew: `${journal}${NEW}`,
      pin: `${content}${PINNED}`,
      journalDamaged: (count) => `${journal}.damaged-${count}`,
    };
  }
}

export interface TaskPaths {
  readonly directory: string;
  readonly content: string;
  readonly contentNew: string;
  readonly journal: string;
  readonly journalNew: string;
  readonly pin: string;
  journalDamaged(count: number): string;
}

/** What a name inside `content/<prefix>/` stands for; undefined: not ours, or of no use to a scan. */
export function parseName(name: string): ParsedName | undefined {
  const taskId = name.slice(0, TASK_ID_LENGTH);
  if (!isTaskId(taskId)) return undefined;
  switch (name.slice(TASK_ID_LENGTH)) {
    case "":
      return { kind: "content", taskId };
    case JOURNAL:
      return { kind: "journal", taskId };
    case PINNED:
      return { kind: "pin", taskId };
    case NEW:
    case `${JOURNAL}${NEW}`:
      return { kind: "leftover", taskId };
    default:
      return parseDamaged(name, taskId);
  }
}

export type ParsedName =
  | { readonly kind: "content" | "journal" | "pin" | "leftover"; readonly taskId: string }
  /** Set aside; the higher the count, the later. */
  | { readonly kind: "damaged"; readonly taskId: string; readonly count: number };

function parseDamaged(name: string, taskId: string): ParsedName | undefined {
  const [, count] = /\.journal\.damaged-([1-9]\d{0,8})$/.exec(name) ?? [];
  const isWhole = name === `${taskId}.journal.damaged-${count}`;
  return isWhole ? { kind: "damaged", taskId, count: Number(count) } : undefined;
}

export function isTaskId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Nothing becomes part of a path before it has passed here. @throws {StorageError} `ERR_TASK_ID` */
export function assertTaskId(taskId: string): void {
  if (isTaskId(taskId)) return;
  throw new StorageError(
    "ERR_TASK_ID",
    `Cannot use task id ${JSON.stringify(taskId.slice(0, 100))}: it must be 64 lower-case hex digits`,
  );
}

/** Hidden, next to the output, and recognisable: `random` is also the name of its note in `outputs/`. */
export function outputTemporaryName(name: string, random: string): string {
  // A file name has at most 255 bytes; what is left of the original is for people.
  const start = Buffer.from(name).toString("utf8", 0, 200);
  return `.${start}.${random}${OUTPUT_TEMPORARY}`;
}

/** Whether a path found in the note `random` is one that `outputTemporaryName` could have made. */
export function isOutputTemporary(path: string, random: string): boolean {
  return path.endsWith(`.${random}${OUTPUT_TEMPORARY}`);
}

const TASK_ID_LENGTH = 64;
const PREFIX_LENGTH = 3;
const JOURNAL = ".journal";
const PINNED = ".pinned";
const NEW = ".new";
const OUTPUT_TEMPORARY = ".damselfly-tmp";
