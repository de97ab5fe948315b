// `npm run chaos` from the options to the exit code.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { undoAtExit } from "../support/cleanup.mjs";
import { describeMachine, formatMachine } from "../support/machine.mjs";
import { removeStaleNamespaces } from "../support/namespaces.mjs";
import { ChaosRun } from "./chaos-run.mjs";
import { killEverythingNow } from "./cluster/chaos-process.mjs";
import { killStaleProcesses, runName } from "./cluster/marked-processes.mjs";
import { openCluster } from "./cluster/open-cluster.mjs";
import { endRun } from "./end-run.mjs";
import { formatCommand } from "./options.mjs";
import { formatReport } from "./format-report.mjs";
import { openLiar } from "./liar/liar.mjs";
import { openProber } from "./prober/prober.mjs";
import { ScheduleClock } from "./schedule-clock.mjs";
import { makeSchedule } from "./schedule/make-schedule.mjs";
import { LIAR } from "./schedule/topology.mjs";
import { SlownessGauge } from "./slowness.mjs";
import { UsageWatch } from "./usage/usage-watch.mjs";

/** So slow may the machine be before the schedule waits for it. */
const STRETCH_FROM = 4;

/** @returns the exit code */
export async function runChaos(options, { print }) {
  const schedule = makeSchedule(options);
  const startedMs = performance.now();
  const say = (text) =>
    print(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${text}`);
  killStaleProcesses();
  removeStaleNamespaces();

  const directory = mkdtempSync(join(options.dir ?? tmpdir(), "damselfly-chaos-"));
  const logs = join(directory, "logs");
  mkdirSync(logs);
  const schedulePath = join(logs, "schedule.json");
  writeFileSync(schedulePath, JSON.stringify(schedule, undefined, 2));
  let keepsLogs = true;
  undoAtExit(() => {
    if (!keepsLogs) rmSync(directory, { recursive: true, force: true });
  });

  const command = formatCommand(options);
  print(`$ ${command}`);
  print(formatMachine(describeMachine()));
  print(
    `${schedule.nodes.length} nodes, ${schedule.files.length} files, ${schedule.downloads.length} downloads, ${schedule.faults.length} faults; logs: ${logs}`,
  );
  const stop = new AbortController();
  const slowness = new SlownessGauge();
  await slowness.sample();
  const run = runName(options.start);
  // After what it stands on, so that it goes before that.
  const opening = openCluster({
    directory,
    logs,
    nodes: schedule.nodes,
    run,
    start: options.start,
    network: options.network,
    slowness: () => slowness.now,
  });
  undoAtExit(killEverythingNow);
  const cluster = await addOthers(await opening, {
    nodes: schedule.nodes,
    start: options.start,
    run,
  });
  say(
    `network: ${cluster.network.kind}; disks: ${cluster.disks.canBeFull ? "in memory" : "a directory each"}`,
  );

  const clock = new ScheduleClock({
    stretch: () => Math.max(1, slowness.now / STRETCH_FROM),
    signal: stop.signal,
  });
  const usage = new UsageWatch({ servers: cluster.servers, run });
  const chaos = new ChaosRun({
    schedule,
    cluster,
    clock,
    slowness,
    usage,
    run,
    logs,
    say,
  });
  const loops = [clock.run(), slowness.run(stop.signal), usage.watch(stop.signal)];
  try {
    await Promise.race([chaos.carryOut(), firstFailure(loops)]);
  } finally {
    stop.abort();
  }
  await Promise.all(loops);
  const figures = await endRun(chaos, { schedulePath });
  writeFileSync(join(logs, "run.json"), JSON.stringify(recordOf(chaos), undefined, 1));
  cluster.disks.close();
  for (const line of formatReport(chaos, figures)) print(line);

  const { violations } = chaos;
  keepsLogs = options.keep || violations.length > 0;
  if (keepsLogs) print(`\nLogs, schedule and what came of it: ${logs}`);
  if (violations.length === 0) return 0;
  print(`The same again: ${command}`);
  return 1;
}

/** A liar among the nodes, and somebody who asks them for their health. */
async function addOthers(cluster, { nodes, start, run }) {
  const { network, certificates, schedulerAddress, logOf } = cluster;
  const liar = await openLiar({
    start,
    run,
    certificates,
    scheduler: schedulerAddress,
    place: network.places.get(LIAR),
    log: logOf(LIAR),
  });
  const { hub, places } = network;
  const prober = await openProber({ hub, places, names: nodes, run, log: logOf("prober") });
  return { ...cluster, liar, prober };
}

function firstFailure(promises) {
  return new Promise((_, reject) => {
    for (const promise of promises) promise.catch(reject);
  });
}

/** For whoever looks into it. */
function recordOf({ violations, outcomes, incidents, clients, usage, checkpoints }) {
  return {
    violations,
    incidents: incidents.all.map(({ fault, fromMs, untilMs }) => ({
      id: fault.id,
      kind: fault.kind,
      target: fault.target,
      from: new Date(fromMs).toISOString(),
      lastedMs: untilMs - fromMs,
      outcome: outcomes.get(fault.id),
    })),
    clients: clients.map((client) => ({
      ...client.download,
      taskId: client.taskId,
      outcome: client.outcome,
      versions: client.versions,
      from: new Date(client.startedMs).toISOString(),
      elapsedMs: client.elapsedMs,
      boundMs: Math.round(client.boundMs),
      last: client.last,
      exit: client.exit,
      problems: client.problems,
    })),
    checkpoints,
    usage: usage.samples,
  };
}
