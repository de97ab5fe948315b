// What will happen in a run: a pure function of the start value and the size of the run.
import { createRandom } from "./random.mjs";
import { drawDownloads } from "./draw-downloads.mjs";
import { drawFaults } from "./draw-faults.mjs";
import { drawFiles, longest } from "./draw-files.mjs";
import { FAULT_KINDS } from "./fault-kinds.mjs";
import { nodeNames, steadyNode } from "./topology.mjs";

const MIB = 2 ** 20;
const MINUTE_MS = 60_000;
/** At the start everybody downloads a file before anything goes wrong. */
export const WARM_MS = 5_000;
/** So often, in a long run, nothing goes wrong for a while, so that what processes hold can be compared. */
const CHECKPOINT_EVERY_MS = 5 * MINUTE_MS;
/** Asked for again at the end: so many of the files that were asked for that late. */
const LAST_COUNT_MAX = 6;
const LAST_MS = 12_000;
/** How long; what ran before has come to its end by the time it is over. */
export const CHECKPOINT_MS = 40_000;

/**
 * @param {{ start: string | number, minutes: number, peers: number, only: string[] }} options - `only`: groups or kinds of faults; the
 *   others of the same schedule are left out, and nothing else moves
 * @returns `{ start, minutes, peers, only, nodes, steady, endMs, files, downloads, faults, checkpoints, recovery }`; times are
 *   milliseconds of the schedule, lengths bytes
 */
export function makeSchedule({ start, minutes, peers, only }) {
  const nodes = nodeNames(peers);
  const steady = steadyNode(peers);
  const endMs = Math.round(minutes * MINUTE_MS);
  const checkpoints = [];
  for (let atMs = CHECKPOINT_EVERY_MS; atMs + CHECKPOINT_MS < endMs; atMs += CHECKPOINT_EVERY_MS)
    checkpoints.push({ atMs });
  const spans = stormSpans(endMs, checkpoints);

  const random = (name) => createRandom(start, name);
  const files = spans.flatMap((span, index) =>
    drawFiles(random(`files ${index}`), span).map((file) => ({
      ...file,
      name: `storm-${index + 1}-${file.name}`,
    })),
  );
  const warm = { ...plainFile("warm", 20 * MIB + 3), bornMs: 0, dyingMs: WARM_MS };
  const recovery = [plainFile("recovery", 24 * MIB + 1), plainFile("recovery-empty", 0)].map(
    (file) => ({ ...file, bornMs: endMs, dyingMs: endMs }),
  );
  const storm = drawDownloads(random("downloads"), { nodes, files });
  const faults = drawFaults(random("faults"), { nodes, steady, files, spans });
  return {
    start,
    minutes,
    peers,
    only,
    nodes,
    steady,
    endMs,
    checkpoints,
    files: [warm, ...files, ...recovery],
    downloads: number("d", [
      ...nodes.map((node) => ({ atMs: 500, file: warm.name, node, mode: "file", phase: "warm" })),
      ...storm.map((download) => ({ ...download, phase: "storm" })),
      ...[...recovery, ...lastFiles(files, endMs)].flatMap((file) =>
        nodes.map((node) => ({
          atMs: endMs,
          file: file.name,
          node,
          mode: "file",
          phase: "recovery",
        })),
      ),
    ]),
    faults: number("f", faults).filter(({ kind }) => isWanted(kind, only)),
  };
}

/** Some of those that are still about when all is over: whatever has become of the copies, everybody must get them. */
function lastFiles(files, endMs) {
  return files
    .filter(({ dyingMs }) => dyingMs > endMs - LAST_MS)
    .toSorted((a, b) => longest(a) - longest(b))
    .slice(0, LAST_COUNT_MAX);
}

/** When things may go wrong: between the start, the checkpoints and the end. */
function stormSpans(endMs, checkpoints) {
  const starts = [WARM_MS, ...checkpoints.map(({ atMs }) => atMs + CHECKPOINT_MS)];
  const ends = [...checkpoints.map(({ atMs }) => atMs), endMs];
  return starts.map((fromMs, index) => ({ fromMs, untilMs: ends[index] }));
}

function plainFile(name, length) {
  return { name, length, validators: "both", ranges: true, isChunked: false, changes: [] };
}

/** In the order of their times; the number of one does not depend on which others are left out. */
function number(prefix, list) {
  return list
    .toSorted((a, b) => a.atMs - b.atMs)
    .map((item, index) => ({ id: `${prefix}${String(index + 1).padStart(4, "0")}`, ...item }));
}

function isWanted(kind, only) {
  return only.length === 0 || only.includes(kind) || only.includes(FAULT_KINDS[kind].group);
}
