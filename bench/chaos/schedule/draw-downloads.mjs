// The downloads of a schedule: who asks for which file when, how, and how long he waits.
import { longest } from "./draw-files.mjs";

const MIB = 2 ** 20;
/** Digests are computed when they are wanted; not of the largest files. */
const DIGEST_LENGTH_MAX = 40 * MIB;
/** Of one file, at all nodes together: those who take the largest are few. */
const BATCH_BYTES_MAX = 400 * MIB;

/**
 * @param {{ nodes: string[], files: object[] }} parts
 * @returns downloads in the order of their starts: `{ atMs, file, node, mode, … }`, `id` is given later
 */
export function drawDownloads(random, { nodes, files }) {
  return files.flatMap((file) => drawForFile(random, { nodes, file }));
}

function drawForFile(random, { nodes, file }) {
  const batchCount = random.integer(1, 4);
  const downloads = [];
  for (let batch = 0; batch < batchCount; batch += 1) {
    // The first one is what the file is there for.
    const atMs = batch === 0 ? file.bornMs : random.integer(file.bornMs, file.dyingMs);
    const askers = random.sample(nodes, random.weighted(ASKER_COUNTS));
    for (const node of askers) {
      const userCount = random.weighted(USER_COUNTS);
      for (let user = 0; user < userCount; user += 1) {
        const total = downloads.length * longest(file);
        if (downloads.length > 1 && total > BATCH_BYTES_MAX) continue;
        downloads.push({
          atMs: atMs + random.integer(0, 400),
          file: file.name,
          node,
          ...drawManner(random, file),
        });
      }
    }
  }
  return downloads;
}

const ASKER_COUNTS = [
  [1, 40],
  [2, 25],
  [3, 15],
  [4, 10],
  [7, 10],
];
/** Of the same URL, on the same node, at about the same time. */
const USER_COUNTS = [
  [1, 75],
  [2, 15],
  [4, 10],
];

function drawManner(random, file) {
  const mode = random.weighted([
    ["file", 55],
    ["stdout", 12],
    ["range", 13],
    ["transfer", 10],
    ["digest", longest(file) <= DIGEST_LENGTH_MAX ? 10 : 0],
  ]);
  const manner = { mode };
  if (mode === "range") Object.assign(manner, drawRange(random, file.length));
  // The user of this one keeps the file, and may edit it.
  if (mode === "file" && random.chance(0.25)) manner.keeps = true;
  if (random.chance(0.12)) manner.revalidates = true;
  if (random.chance(0.06)) manner.timeoutSeconds = random.integer(5, 20);
  const ending = random.weighted([
    ["none", 82],
    ["leaves", 13],
    ["sleeps", 5],
  ]);
  if (ending === "leaves") {
    manner.leaves = {
      afterMs: random.integer(0, 3_000),
      signal: random.pick(["SIGINT", "SIGTERM", "SIGKILL"]),
    };
  }
  if (ending === "sleeps") {
    manner.sleeps = { afterMs: random.integer(100, 2_000), durationMs: random.integer(500, 6_000) };
  }
  return manner;
}

/** `from` and `to` of a range, both included, within the first version; of nothing no range can be had. */
function drawRange(random, length) {
  if (length === 0) return { mode: "file" };
  const from = random.integer(0, length - 1);
  return { range: { from, to: random.integer(from, length - 1) } };
}
