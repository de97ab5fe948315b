import type { ListCacheResponse__Output } from "@damselfly/rpc";

type Task = ListCacheResponse__Output["tasks"][number];
type State = NonNullable<ListCacheResponse__Output["state"]>;

/** What `dfdaemon cache list` prints: a line for each task, least recently used first, and what they take together. */
export function formatCache(
  tasks: readonly Task[],
  state: State,
  options: { readonly nowMs: number },
): string {
  const rows = tasks.map((task) => [
    task.taskId.slice(0, ID_LENGTH),
    task.problem === "" ? formatBytes(task.contentLength) : "?",
    formatBytes(task.bytes),
    formatAge(options.nowMs - (task.usedAt?.seconds ?? 0) * 1000),
    describeTask(task),
    printable(task.url),
  ]);
  const header = ["TASK", "SIZE", "ON DISK", "USED", "STATE", "URL"];
  const table = rows.length === 0 ? "" : `${formatTable([header, ...rows])}\n`;
  return `${table}${describeState(tasks.length, state)}\n`;
}

/** What `dfdaemon cache gc` prints. */
export function formatEvictions(
  evicted: readonly {
    readonly taskId: string;
    readonly reason: string;
    readonly bytes: number;
    readonly freeableBytes: number;
  }[],
  options: { readonly dryRun: boolean; readonly shortBytes: number },
): string {
  const verb = options.dryRun ? "would evict" : "evicted";
  const lines = evicted.map(
    ({ taskId, reason, bytes }) =>
      `${verb} ${taskId.slice(0, ID_LENGTH)}  ${formatBytes(bytes)}  ${REASONS.get(reason) ?? reason}`,
  );
  const freed = evicted.reduce((sum, { freeableBytes }) => sum + freeableBytes, 0);
  const gives = options.dryRun ? "would give" : "gives";
  lines.push(
    evicted.length === 0
      ? "nothing to evict"
      : `${countTasks(evicted.length)}; ${gives} the disk ${formatBytes(freed)}`,
  );
  if (options.shortBytes > 0)
    lines.push(
      `${formatBytes(options.shortBytes)} too little: the rest is pinned, in use, or not the cache's`,
    );
  return `${lines.join("\n")}\n`;
}

/** `0 B`, `1023 B`, `4.0 KiB`, `31.5 GiB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1000) return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} PiB`;
}

/** `just now`, `5 min ago`, `3 h ago`, `12 d ago`. */
export function formatAge(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} d ago`;
}

function describeTask(task: Task): string {
  if (task.problem !== "") return "unreadable";
  const isWhole = task.presentPieceCount === task.pieceCount;
  const states = [
    ...(task.pinned ? ["pinned"] : []),
    ...(task.busy ? ["in use"] : []),
    ...(isWhole ? [] : [`${Math.floor((task.presentPieceCount * 100) / task.pieceCount)} %`]),
    // What it takes is a user's as well, who keeps it.
    ...(task.freeableBytes * 2 < task.bytes ? ["linked"] : []),
  ];
  return states.length === 0 ? "-" : states.join(", ");
}

function describeState(count: number, state: State): string {
  const marks = `evicts from ${state.highPercent} % on, down to ${state.lowPercent} %`;
  const taken = state.diskBytes - state.diskFreeBytes;
  const bounds =
    state.quotaBytes > 0
      ? `${percentOf(state.bytes, state.quotaBytes)} of its ${formatBytes(state.quotaBytes)}`
      : `the disk is ${percentOf(taken, state.diskBytes)} full`;
  const days = Math.round(state.ttlSeconds / 8640) / 10;
  return `${countTasks(count)}, ${formatBytes(state.bytes)}; ${bounds}: ${marks}, and what nobody uses for ${days} d`;
}

function countTasks(count: number): string {
  return count === 1 ? "1 task" : `${count} tasks`;
}

function percentOf(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${Math.round((part * 100) / whole)} %`;
}

function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** What others made up must not steer the terminal: no controls, nothing that turns the direction of writing. */
function printable(text: string): string {
  return text.replaceAll(STEERING, "\ufffd");
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const STEERING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

const ID_LENGTH = 16;
const REASONS: ReadonlyMap<string, string> = new Map([
  ["expired", "unused for too long"],
  ["room", "to make room"],
]);
