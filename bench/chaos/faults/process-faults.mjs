// Faults of processes: killed, stopped, started again.
import { setTimeout as pause } from "node:timers/promises";
import process from "node:process";
import { findProcesses } from "../cluster/marked-processes.mjs";
import { annotate } from "../cluster/chaos-process.mjs";

/** How long the data plane of a daemon that is gone may take to be gone as well. Milliseconds. */
const ORPHAN_MS_MAX = 5_000;

export const processFaults = {
  "kill-daemon": (fault, context) => away(fault, context, (server) => killAlone(server, context)),
  "kill-tree": (fault, context) =>
    away(fault, context, (server) => server.kill("SIGKILL", { group: true })),
  "kill-scheduler": (fault, context) => away(fault, context, (server) => server.kill("SIGKILL")),
  "restart-daemon": (fault, context) => away(fault, context, (server) => server.stop()),
  "restart-scheduler": (fault, context) => away(fault, context, (server) => server.stop()),
  "stop-daemon": freeze,
  "stop-scheduler": freeze,
  async "kill-worker"({ target, signal }, context) {
    const server = context.serverOf(target);
    const [pid] = server.workerPids();
    if (pid === undefined) return "there is none at this moment";
    annotate(server.log, `${signal} to data-plane process ${pid} of ${server.name}`);
    signalPid(pid, signal);
    return `process ${pid}`;
  },
  async "stop-worker"({ target, durationMs }, context) {
    const server = context.serverOf(target);
    const [pid] = server.workerPids();
    if (pid === undefined) return "there is none at this moment";
    annotate(server.log, `SIGSTOP to data-plane process ${pid} of ${server.name}`);
    signalPid(pid, "SIGSTOP");
    await context.clock.pass(durationMs);
    signalPid(pid, "SIGCONT");
    return `process ${pid}`;
  },
};

async function away({ target, durationMs }, { serverOf, clock }, end) {
  const server = serverOf(target);
  await end(server);
  await clock.pass(durationMs);
  await server.start();
  return `back after ${Math.round(server.startMs.at(-1))} ms`;
}

/** Only the control process: what it has started must notice. */
export async function killAlone(server, { run, slowness }) {
  const groupId = server.process?.pid;
  await server.kill("SIGKILL");
  void watchOrphans({ server, groupId, run, boundMs: ORPHAN_MS_MAX * slowness() });
}

async function watchOrphans({ server, groupId, run, boundMs }) {
  const deadline = performance.now() + boundMs;
  const orphans = () => findProcesses(run).filter((each) => each.groupId === groupId);
  while (orphans().length > 0) {
    if (performance.now() > deadline) {
      const pids = orphans().map(({ pid }) => pid);
      server.troubles.push(
        `processes ${pids.join(", ")} of ${server.name} outlived it by ${Math.round(boundMs)} ms`,
      );
      for (const pid of pids) signalPid(pid, "SIGKILL");
      return;
    }
    await pause(100);
  }
}

async function freeze({ target, durationMs }, { serverOf, clock }) {
  const server = serverOf(target);
  if (!server.isUp) return "it is not there";
  server.freeze();
  await clock.pass(durationMs);
  server.thaw();
  return "";
}

function signalPid(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error; // It has ended, or was replaced, meanwhile.
  }
}
