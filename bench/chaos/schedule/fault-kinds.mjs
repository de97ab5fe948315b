// What may go wrong, how often, for how long, and to whom. Times are milliseconds of the schedule.

/**
 * By name:
 *
 * - `group`: for `--only`;
 * - `weight`: how often, among the others;
 * - `durationMs`: from and to; how long it lasts, and of a process that is killed how long it is away;
 * - `target`: `node` (a daemon's), `unsteady` (any but the one node whose processes nobody touches), `any` (also the scheduler's
 *   and the origin's), `scheduler`, `file`, `young file`: one that is asked for soon, `halves`;
 * - `holds`: what two faults cannot have at a time;
 * - `draw(random)`: what else there is to say of one.
 */
export const FAULT_KINDS = {
  "kill-daemon": {
    group: "kill",
    weight: 8,
    durationMs: [0, 4_000],
    target: "unsteady",
    holds: "process",
  },
  // The daemon and its data plane in the same moment, as an out-of-memory kill of the whole group does it.
  "kill-tree": {
    group: "kill",
    weight: 4,
    durationMs: [0, 4_000],
    target: "unsteady",
    holds: "process",
  },
  "kill-worker": {
    group: "kill",
    weight: 7,
    durationMs: [0, 0],
    target: "unsteady",
    holds: "process",
    draw: (random) => ({ signal: random.pick(["SIGKILL", "SIGABRT", "SIGSEGV"]) }),
  },
  "kill-scheduler": {
    group: "kill",
    weight: 3,
    durationMs: [0, 6_000],
    target: "scheduler",
    holds: "process",
  },
  "stop-daemon": {
    group: "stop",
    weight: 4,
    durationMs: [500, 8_000],
    target: "unsteady",
    holds: "process",
  },
  "stop-worker": {
    group: "stop",
    weight: 4,
    durationMs: [500, 8_000],
    target: "unsteady",
    holds: "process",
  },
  "stop-scheduler": {
    group: "stop",
    weight: 2,
    durationMs: [500, 8_000],
    target: "scheduler",
    holds: "process",
  },
  "restart-daemon": {
    group: "restart",
    weight: 4,
    durationMs: [0, 1_000],
    target: "unsteady",
    holds: "process",
  },
  "restart-scheduler": {
    group: "restart",
    weight: 1,
    durationMs: [0, 1_000],
    target: "scheduler",
    holds: "process",
  },
  link: {
    group: "link",
    weight: 6,
    durationMs: [2_000, 12_000],
    target: "any",
    holds: "link",
    draw: (random) => ({
      lossPercent: random.pick([0, 0, 0.5, 2, 10]),
      delayMs: random.pick([0, 1, 10, 40, 80]),
      rateMbit: random.pick([0, 0, 5, 20, 100, 400]),
    }),
  },
  cut: { group: "link", weight: 4, durationMs: [500, 9_000], target: "any", holds: "link" },
  split: { group: "link", weight: 2, durationMs: [500, 9_000], target: "halves", holds: "split" },
  "full-disk": {
    group: "disk",
    weight: 4,
    durationMs: [1_000, 8_000],
    target: "node",
    holds: "disk",
    draw: (random) => ({ freeBytes: random.pick([0, 16 * 2 ** 10, 2 * 2 ** 20]) }),
  },
  "corrupt-content": {
    group: "corrupt",
    weight: 6,
    durationMs: [0, 1_500],
    target: "node",
    holds: "process",
    draw: (random, { isSteady }) => drawDamage(random, CONTENT_DAMAGES, isSteady),
  },
  "corrupt-journal": {
    group: "corrupt",
    weight: 4,
    durationMs: [0, 1_500],
    target: "node",
    holds: "process",
    draw: (random, { isSteady }) => drawDamage(random, JOURNAL_DAMAGES, isSteady),
  },
  // The user's own file, which may be the daemon's as well: a hard link.
  "edit-output": {
    group: "corrupt",
    weight: 3,
    durationMs: [0, 0],
    target: "node",
    holds: "none",
    draw: (random) => drawDamage(random, ["overwrite", "zero", "truncate", "extend"], true),
  },
  lie: {
    group: "liar",
    weight: 6,
    durationMs: [6_000, 18_000],
    target: "young file",
    holds: "liar",
    draw: (random) => ({ how: random.pick(LIES) }),
  },
  "origin-error": {
    group: "origin",
    weight: 6,
    durationMs: [1_000, 6_000],
    target: "file",
    holds: "origin",
    draw: (random) => ({
      how: random.pick(ORIGIN_ERRORS),
      isEverywhere: random.chance(0.3),
      retryAfterSeconds: random.integer(1, 4),
    }),
  },
  "delete-task": {
    group: "delete",
    weight: 2,
    durationMs: [0, 0],
    target: "node",
    holds: "none",
    draw: (random) => ({ pick: random.fraction() }),
  },
};

export const FAULT_GROUPS = [...new Set(Object.values(FAULT_KINDS).map(({ group }) => group))];

/** What the file that holds a task's content may suffer. `swap`: two of its pieces trade places. */
export const CONTENT_DAMAGES = ["overwrite", "zero", "truncate", "extend", "swap"];
export const JOURNAL_DAMAGES = ["overwrite", "zero", "truncate", "extend", "empty"];

/** What a parent with a good certificate may do to its children. */
export const LIES = [
  "wrong bytes",
  "wrong bytes and their digest",
  "too few bytes",
  "nothing",
  "nothing after half",
  "a byte now and then",
  "not found",
  "another length",
  "another file",
];

/** What the origin may do in place of its work. */
export const ORIGIN_ERRORS = [
  "503 with Retry-After",
  "500",
  "404",
  "reset",
  "cut",
  "slow",
  "silent",
  "no HEAD",
  "200 for a range",
];

/** Which of the files that are there, where in it, how much of it; all as fractions, since nobody knows today what will be there. */
function drawDamage(random, hows, isSteady) {
  return {
    how: random.pick(hows),
    pick: random.fraction(),
    place: random.fraction(),
    length: random.integer(1, 300_000),
    /** Done to a node that is down, or under one that runs. */
    isDown: !isSteady && random.chance(0.4),
    /** The clock of the file is set back, as rsync and backups do it. */
    keepsTime: random.chance(0.3),
  };
}
