// What a run comes to, for people.
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { FAULT_KINDS } from "./schedule/fault-kinds.mjs";

const MIB = 2 ** 20;
const VIOLATIONS_MAX = 50;

/** @returns lines */
export function formatReport(chaos, { answers, origin, storage }) {
  const { clients, violations, slowness } = chaos;
  const seconds = (ms) => (ms / 1000).toFixed(1);
  const starts = [...chaos.cluster.servers.values()].flatMap(({ startMs }) => startMs.slice(1));
  const health = Object.values(answers).flat();
  const delivered = clients
    .filter(({ outcome }) => outcome === "success")
    .reduce((sum, { last }) => sum + (last.done ?? 0), 0);
  const [slowest] = clients.toSorted((a, b) => b.elapsedMs - a.elapsedMs);
  const [tightest] = clients.toSorted((a, b) => b.elapsedMs / b.boundMs - a.elapsedMs / a.boundMs);
  return [
    "",
    `Downloads: ${clients.length}, ${formatCounts(clients.map(({ outcome }) => outcome))}; ${mib(delivered)} delivered`,
    `  errors: ${formatCounts(clients.filter(({ outcome }) => outcome === "error").map(({ last }) => last.code)) || "none"}`,
    `  the slowest took ${seconds(slowest.elapsedMs)} s (${slowest.download.id}, bound ${seconds(slowest.boundMs)} s); nearest to its bound: ${tightest.download.id}, ${seconds(tightest.elapsedMs)} of ${seconds(tightest.boundMs)} s`,
    `Faults: ${chaos.incidents.all.length}`,
    ...table(faultRows(chaos)),
    `Origin: ${mib(origin.sentBytes)} sent for ${mib(origin.fileBytes)} of files in all their versions, ${(origin.sentBytes / origin.fileBytes).toFixed(2)} times; the faults allow ${mib(origin.boundBytes)}`,
    `Lies told: ${chaos.cluster.liar.askedCount()}; ${clients.filter(({ believesLiar }) => believesLiar).length} downloads believed them where nobody knew the digests any more`,
    `Starts after the first: ${starts.length}, ${formatQuantiles(starts)} ms; an empty Node program: ${formatQuantiles(slowness.samplesMs)} ms`,
    `Health checks answered: ${health.length}, ${formatQuantiles(health)} ms`,
    `On the disks at the end: ${storage.taskCount} tasks, ${storage.pieceCount} pieces as the origin had them, ${storage.withdrawnCount} damaged and found to be`,
    ...formatUsage(chaos),
    "",
    ...(violations.length === 0
      ? ["Every promise was kept."]
      : [
          `${violations.length} PROMISES WERE NOT KEPT:`,
          ...violations.slice(0, VIOLATIONS_MAX).map(({ who, what }) => `  ${who}: ${what}`),
        ]),
  ];
}

function faultRows({ incidents, outcomes }) {
  return Object.keys(FAULT_KINDS).flatMap((kind) => {
    const some = incidents.all.filter(({ fault }) => fault.kind === kind);
    if (some.length === 0) return [];
    const leftOut = some.filter(({ fault }) => outcomes.get(fault.id)?.startsWith("left out"));
    const words = leftOut.length === 0 ? "" : `${leftOut.length} left out: it cannot be had here`;
    return [[kind, String(some.length), words]];
  });
}

function formatUsage({ usage, checkpoints, schedule, cluster }) {
  const peaks = [...cluster.servers.keys()].map((name) => {
    const samples = usage.samples.filter((sample) => sample.name === name);
    const peak = (field) => Math.max(0, ...samples.map((sample) => sample[field]));
    return [name, `${(peak("bytes") / MIB).toFixed(0)} MiB`, `${peak("fileCount")} descriptors`];
  });
  const steady = checkpoints.map(
    ({ bytes, fileCount, diskFileCount }) =>
      `${(bytes / MIB).toFixed(0)} MiB ${fileCount} descriptors, ${diskFileCount} of files`,
  );
  return [
    "At most held, with all processes:",
    ...table(peaks),
    `${schedule.steady} with nothing to do: ${steady.join("; ")}`,
  ];
}

/** `3 success, 1 error`. */
function formatCounts(words) {
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([word, count]) => `${count} ${word}`)
    .join(", ");
}

function formatQuantiles(values) {
  if (values.length === 0) return "none";
  const sorted = values.toSorted((a, b) => a - b);
  const at = (fraction) =>
    sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))].toFixed(0);
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`;
}

function mib(bytes) {
  return `${(bytes / MIB).toFixed(0)} MiB`;
}

function table(rows) {
  return rows.length === 0 ? [] : formatTable(rows);
}
