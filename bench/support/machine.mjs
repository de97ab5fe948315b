// What a figure was taken on.
import { spawnSync } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export function describeMachine() {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    coreCount: cores.length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    commit: readCommit(),
    load: loadavg()[0],
    date: new Date().toISOString(),
  };
}

/** One line for people. */
export function formatMachine({ cpu, coreCount, memoryBytes, system, node, commit, load }) {
  const memory = `${(memoryBytes / 2 ** 30).toFixed(0)} GiB`;
  return `${coreCount} x ${cpu}, ${memory}, ${system}, Node ${node}, commit ${commit}, load ${load.toFixed(2)} at the start`;
}

/** With a `+` where files differ from it; "unknown" outside a clone. */
function readCommit() {
  const git = (...parameters) => spawnSync("git", parameters, { cwd: ROOT, encoding: "utf8" });
  const { status, stdout } = git("rev-parse", "--short=12", "HEAD");
  if (status !== 0) return "unknown";
  const isChanged = git("status", "--porcelain", "--untracked-files=no").stdout !== "";
  return stdout.trim() + (isChanged ? "+" : "");
}
