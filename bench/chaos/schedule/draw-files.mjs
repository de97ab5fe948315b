// The files of a schedule: what the origin has, for how long, and how it changes.

const KIB = 2 ** 10;
const MIB = 2 ** 20;
/** Of a piece, at least. */
const PIECE_LENGTH = 4 * MIB;

/** A new file appears so often. Milliseconds. */
const PAUSE_MS = 3_500;
/** From the first time that a file is asked for to the last. */
const LIFE_MS = [6_000, 30_000];
/** What all files together may take on a node's disk at a time. */
export const LIVE_BYTES_MAX = 360 * MIB;
/** Files of hundreds of MiB need a run that is long enough for them. */
const LARGE_FROM_MS = 110_000;

/**
 * @param {{ fromMs: number, untilMs: number }} span - of the first requests for them
 * @returns files in the order of their birth: `{ name, bornMs, dyingMs, length, validators, ranges, isChunked, changes }`; a change has
 *   `atMs`, `length`, and whether it `cutsRunning` answers
 */
export function drawFiles(random, { fromMs, untilMs }) {
  const files = [];
  for (let atMs = fromMs; atMs < untilMs; atMs += random.pause(PAUSE_MS)) {
    const bornMs = Math.round(atMs);
    const dyingMs = Math.min(bornMs + random.integer(...LIFE_MS), untilMs);
    const live = files
      .filter((file) => file.dyingMs > bornMs)
      .reduce((sum, file) => sum + longest(file), 0);
    const file = drawFile(random, {
      name: `file-${files.length + 1}`,
      bornMs,
      dyingMs,
      mayBeLarge: untilMs - fromMs >= LARGE_FROM_MS,
    });
    if (live + longest(file) <= LIVE_BYTES_MAX) files.push(file);
  }
  return files;
}

/** The length of its longest version, in bytes. */
export function longest({ length, changes }) {
  return Math.max(length, ...changes.map((change) => change.length));
}

function drawFile(random, { name, bornMs, dyingMs, mayBeLarge }) {
  const length = drawLength(random, mayBeLarge);
  const changes = drawChanges(random, { bornMs, dyingMs, length });
  return {
    name,
    bornMs,
    dyingMs,
    length,
    validators: random.weighted([
      ["both", 60],
      ["etag", 15],
      ["last-modified", 15],
      ["none", 10],
    ]),
    ranges: random.chance(0.9),
    /** Sent without saying how long it is. */
    isChunked: random.chance(0.06),
    changes,
  };
}

function drawLength(random, mayBeLarge) {
  const kind = random.weighted([
    ["edge", 25],
    ["small", 30],
    ["medium", 33],
    ["long", 10],
    ["large", mayBeLarge ? 2 : 0],
  ]);
  switch (kind) {
    case "edge":
      return random.pick([
        0,
        1,
        4095,
        64 * KIB,
        PIECE_LENGTH - 1,
        PIECE_LENGTH,
        PIECE_LENGTH + 1,
        3 * PIECE_LENGTH,
      ]);
    case "small":
      return random.integer(1, 8 * MIB);
    case "medium":
      return random.integer(8 * MIB, 32 * MIB);
    case "long":
      return random.integer(32 * MIB, 80 * MIB);
    default:
      return random.integer(120 * MIB, 260 * MIB);
  }
}

function drawChanges(random, { bornMs, dyingMs, length }) {
  const count = random.weighted([
    [0, 65],
    [1, 25],
    [2, 8],
    [3, 2],
  ]);
  const changes = Array.from({ length: count }, () => ({
    atMs: random.integer(bornMs + 200, dyingMs),
    length: random.chance(0.5) ? length : drawLength(random, false),
    cutsRunning: random.chance(0.3),
  }));
  return changes.toSorted((a, b) => a.atMs - b.atMs);
}
