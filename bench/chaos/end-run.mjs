// What is looked at when a run is over: how everybody stops, what is left, and what is on the disks.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setTimeout as pause } from "node:timers/promises";
import { findProcesses } from "./cluster/marked-processes.mjs";
import { judgeHealth } from "./checks/judge-health.mjs";
import { originBoundBytes } from "./checks/origin-bound.mjs";
import { judgeGrowth, judgePeaks } from "./checks/judge-usage.mjs";
import { scanLog } from "./checks/scan-log.mjs";
import { LIAR, ORIGIN } from "./schedule/topology.mjs";

const VERIFIER = fileURLToPath(new URL("checks/verify-storage.mjs", import.meta.url));
/** A long run is one whose processes have settled by the first checkpoint. */
const LONG_MINUTES = 10;
/** What is gone must be gone by then. Milliseconds. */
const GONE_MS = 5_000;
/** How much is shown of a line that must not be in a log. */
const LINE_LENGTH_MAX = 300;

/**
 * Stops the cluster and adds to `chaos.violations` whatever promise was not kept.
 *
 * @returns figures for the report: `{ answers, origin, storage }`
 */
export async function endRun(chaos, { schedulePath }) {
  const { cluster } = chaos;
  const answers = await cluster.prober.answers();
  const origin = judgeOrigin(chaos, await cluster.origin.count());
  judgeAnswers(chaos);
  // The prober must not ask those who are stopped on purpose.
  cluster.prober.process.killGroup("SIGKILL");
  await Promise.all([...cluster.nodes.values()].map(({ server }) => server.stop()));
  await cluster.scheduler.stop();
  await chaos.dismissOutputs();
  const storage = await verifyStorages(chaos, schedulePath);
  for (const name of chaos.findLeftovers()) chaos.violate("outputs", `${name} is left over`);
  for (const { process: child } of [cluster.prober, cluster.liar]) {
    child.killGroup("SIGKILL");
    await child.ended;
  }
  await cluster.close();
  await judgeProcesses(chaos);
  judgeServers(chaos);
  return { answers, origin, storage };
}

function judgeAnswers(chaos) {
  const { cluster, incidents, slowness } = chaos;
  const problems = judgeHealth(cluster.prober.troubles, { incidents, slowness: slowness.worst });
  for (const problem of problems) chaos.violate("health", problem);
}

/** @returns `{ sentBytes, fileBytes, boundBytes, readCount }`, over all files */
function judgeOrigin(chaos, counts) {
  const { files, incidents } = chaos;
  let [sentBytes, fileBytes, boundBytes] = [0, 0, 0];
  for (const [name, file] of files) {
    const clients = chaos.clientsOf(name);
    if (clients.length === 0) continue;
    const sent = Object.values(counts[name] ?? {}).reduce((sum, bytes) => sum + bytes, 0);
    const fromMs = Math.min(...clients.map(({ startedMs }) => startedMs));
    const untilMs = Math.max(...clients.map(({ endedMs }) => endedMs));
    const lengths = file.versionsUntil(untilMs).map((version) => file.content(version).length);
    const bound = originBoundBytes({
      spec: file.spec,
      lengths,
      clients,
      askerCount: new Set(clients.map(({ download }) => download.node)).size,
      incidents: incidents.during({
        fromMs,
        untilMs,
        settleMs: 5e3,
      }),
    });
    if (sent > bound)
      chaos.violate("origin", `${name}: ${sent} bytes were read, expected at most ${bound}`);
    sentBytes += sent;
    fileBytes += lengths.reduce((sum, length) => sum + length, 0);
    boundBytes += bound;
  }
  return { sentBytes, fileBytes, boundBytes };
}

async function verifyStorages(chaos, schedulePath) {
  const total = { taskCount: 0, pieceCount: 0, withdrawnCount: 0 };
  for (const { name, storage } of chaos.cluster.nodes.values()) {
    try {
      const parameters = [VERIFIER, storage, schedulePath];
      const { stdout } = await promisify(execFile)(process.execPath, parameters);
      const { problems, ...counts } = JSON.parse(stdout);
      for (const problem of problems) chaos.violate(`storage of ${name}`, problem);
      for (const key of Object.keys(total)) total[key] += counts[key];
    } catch (error) {
      chaos.violate(`storage of ${name}`, `cannot be opened: ${error.stderr ?? error.message}`);
    }
  }
  return total;
}

async function judgeProcesses({ run, violate, ...chaos }) {
  const deadline = performance.now() + GONE_MS * chaos.slowness.now;
  while (findProcesses(run).length > 0 && performance.now() < deadline) await pause(100);
  for (const { pid, command } of findProcesses(run)) {
    violate.call(chaos, "processes", `${pid} is left: ${command.slice(0, 200)}`);
    process.kill(pid, "SIGKILL");
  }
}

function judgeServers(chaos) {
  const { cluster, usage, checkpoints, schedule } = chaos;
  for (const { troubles } of cluster.servers.values())
    for (const trouble of troubles) chaos.violate("processes", trouble);
  for (const { name, process: child } of [cluster.origin, cluster.liar, cluster.prober]) {
    if (child.killedBy === undefined)
      chaos.violate("harness", `${name ?? child.name} ended by itself`);
  }
  for (const problem of judgePeaks(usage.samples)) chaos.violate("usage", problem);
  if (schedule.minutes >= LONG_MINUTES)
    for (const problem of judgeGrowth(checkpoints)) chaos.violate(schedule.steady, problem);
  for (const path of [...cluster.servers.keys(), ORIGIN, LIAR].map(cluster.logOf)) {
    const found = scanLog(readFileSync(path, "utf8"));
    for (const reason of new Set(found.map((each) => each.reason))) {
      const lines = found.filter((each) => each.reason === reason);
      chaos.violate(
        path,
        `${reason}, ${lines.length} times: ${lines[0].line.slice(0, LINE_LENGTH_MAX)}`,
      );
    }
  }
}
