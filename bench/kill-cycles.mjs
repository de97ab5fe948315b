// A swarm in which somebody is killed in the middle of a download, again and again: is started again, asked again, and must neither serve a
// wrong byte nor fetch what it had recorded. See docs/chaos.md. Linux only.
//
//   node bench/kill-cycles.mjs [--cycles 500] [--start N] [--peers 3] [--network switch|bridge|loopback] [--keep]
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { readReplacements } from "./chaos/checks/read-replacements.mjs";
import { scanLog } from "./chaos/checks/scan-log.mjs";
import { killEverythingNow } from "./chaos/cluster/chaos-process.mjs";
import { findProcesses, killStaleProcesses, runName } from "./chaos/cluster/marked-processes.mjs";
import { openCluster } from "./chaos/cluster/open-cluster.mjs";
import { KillCycles } from "./chaos/kill-cycles/kill-cycles.mjs";
import { nodeNames, ORIGIN } from "./chaos/schedule/topology.mjs";
import { SlownessGauge } from "./chaos/slowness.mjs";
import { undoAtExit } from "./support/cleanup.mjs";
import { describeMachine, formatMachine } from "./support/machine.mjs";
import { removeStaleNamespaces } from "./support/namespaces.mjs";

/** A start again serves within this, on a machine on which an empty Node program takes this long; where it takes twice as long, twice as long. */
const SERVING_MS_MAX = 2_000;
const EMPTY_MS = 50;
/** Of the origin's link, where it can be slowed down: so fast that a download takes seconds, and is there to be disturbed. */
const ORIGIN_RATE_MBIT = 160;
const SAY_EVERY = 25;

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "500" },
    start: { type: "string", default: "1" },
    peers: { type: "string", default: "3" },
    network: { type: "string" },
    keep: { type: "boolean", default: false },
  },
});
const [cycleCount, start, peers] = [values.cycles, values.start, values.peers].map(Number);

killStaleProcesses();
removeStaleNamespaces();
const directory = mkdtempSync(join(tmpdir(), "damselfly-kill-cycles-"));
const logs = join(directory, "logs");
mkdirSync(logs);
let keepsLogs = true;
undoAtExit(() => {
  if (!keepsLogs) rmSync(directory, { recursive: true, force: true });
});
console.log(
  `$ node bench/kill-cycles.mjs --cycles ${cycleCount} --start ${start} --peers ${peers}`,
);
console.log(formatMachine(describeMachine()));
const slowness = new SlownessGauge();
await slowness.sample();
const run = runName(start);
const opening = openCluster({
  directory,
  logs,
  nodes: nodeNames(peers),
  start,
  run,
  network: values.network,
  slowness: () => slowness.now,
});
undoAtExit(killEverythingNow);
const cluster = await opening;
const cycles = new KillCycles({ cluster, start, run, logs, slowness });
const startedMs = performance.now();
await cycles.prepare();
if (cluster.network.can.has("rate"))
  await cluster.network.setLink(ORIGIN, { rateMbit: ORIGIN_RATE_MBIT });
for (let number = 1; number <= cycleCount; number += 1) {
  await cycles.run1(number);
  // Beside the starts of daemons, on the machine as it is at this moment.
  await slowness.sample();
  if (number % SAY_EVERY !== 0) continue;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  console.log(
    `${seconds.padStart(7)} s  ${number} cycles, ${cycles.violations.length} promises not kept`,
  );
}
await finish();

async function finish() {
  const { violations, servingMs, counts, pieces } = cycles;
  await Promise.all([...cluster.servers.values()].map((server) => server.stop()));
  await cluster.close();
  for (const { troubles } of cluster.servers.values())
    for (const what of troubles) violations.push({ what });
  for (const { command } of findProcesses(run)) violations.push({ what: `is left: ${command}` });
  const replacedMs = [];
  for (const name of cluster.servers.keys()) {
    const log = readFileSync(cluster.logOf(name), "utf8");
    replacedMs.push(...readReplacements(log));
    for (const { line, reason } of scanLog(log).slice(0, 3))
      violations.push({ what: `${name}: ${reason}: ${line.slice(0, 300)}` });
  }
  const scale = medianOf(slowness.samplesMs) / EMPTY_MS;
  const late = servingMs.filter((ms) => ms > SERVING_MS_MAX);
  const tooLate = servingMs.filter((ms) => ms > SERVING_MS_MAX * Math.max(1, scale));
  if (tooLate.length > 0)
    violations.push({
      what: `${tooLate.length} starts served later than they may on this machine`,
    });
  cluster.disks.close();

  const kinds = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
  const lines = [
    "",
    `${cycleCount} cycles in ${((performance.now() - startedMs) / 1000).toFixed(0)} s: killed ${kinds.join(", ")}`,
    `  files compared: ${cycles.fileCount}, wrong: ${cycles.wrongFileCount}`,
    `  pieces recorded by those killed: ${pieces.recorded}, of them fetched again: ${pieces.again}; fetched after: ${pieces.fetched}; half-way: ${cycles.halfWayCount} cycles`,
    `  a daemon that was killed serves a piece, from the start of its process: ${formatQuantiles(servingMs)} ms; ${late.length} of ${servingMs.length} later than ${SERVING_MS_MAX} ms`,
    `  it answers at its socket: ${formatQuantiles(cycles.answerMs)} ms; a scheduler is ready: ${formatQuantiles(cycles.schedulerMs)} ms`,
    `  a data plane that was killed is there again, from its end and with the pauses before a restart: ${formatQuantiles(replacedMs)} ms`,
    `  an empty Node program in between: ${formatQuantiles(slowness.samplesMs)} ms`,
    ...(violations.length === 0
      ? ["Every promise was kept."]
      : [
          `${violations.length} PROMISES WERE NOT KEPT:`,
          ...violations.map(({ cycle, what }) => `  ${cycle ?? "at the end"}: ${what}`),
        ]),
  ];
  for (const line of lines) console.log(line);
  keepsLogs = values.keep || violations.length > 0;
  if (keepsLogs) console.log(`Logs: ${logs}`);
  process.exit(violations.length === 0 ? 0 : 1);
}

function medianOf(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
}

function formatQuantiles(list) {
  if (list.length === 0) return "none";
  const sorted = list.toSorted((a, b) => a - b);
  const at = (fraction) =>
    sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))].toFixed(0);
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`;
}
