// Network namespaces of Linux: what a measured path is built of. As root, with iproute2.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { undoAtExit } from "./cleanup.mjs";

/** Names are `damselfly-bench-PID-WHAT`: what a killed bench left behind can be told from what is in use. */
const PREFIX = "damselfly-bench-";
let count = 0;

/** @returns why there are none here; undefined: there are */
export function whyNoNamespaces() {
  known ??= { why: probe() };
  return known.why;
}

let known;

function probe() {
  if (process.platform !== "linux") return "not Linux";
  if (process.getuid() !== 0) return "not root";
  if (spawnSync("ip", ["-V"]).status !== 0) return "no ip command (iproute2)";
  const name = `${PREFIX}${process.pid}-probe`;
  const added = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  if (added.status !== 0) return `no network namespace may be made: ${added.stderr.trim()}`;
  spawnSync("ip", ["netns", "delete", name]);
  return undefined;
}

/**
 * Makes a namespace with its loopback device up.
 *
 * @returns its name, and `remove()`, which the end of the process calls in any case
 */
export function addNamespace(what) {
  const name = `${PREFIX}${process.pid}-${(count += 1)}-${what}`;
  ip("netns", "add", name);
  const remove = undoAtExit(() => spawnSync("ip", ["netns", "delete", name]));
  ip("-n", name, "link", "set", "lo", "up");
  return { name, remove };
}

/** The command line that runs `command` in a namespace; undefined: in ours. */
export function inNamespace(namespace, command) {
  return namespace === undefined ? command : ["ip", "netns", "exec", namespace, ...command];
}

/** Runs `ip`. */
export function ip(...parameters) {
  const { status, stderr } = spawnSync("ip", parameters, { encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot ip ${parameters.join(" ")}: ${stderr.trim()}`);
}

/** Removes what benches left that were killed. */
export function removeStaleNamespaces() {
  const directory = "/var/run/netns";
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      spawnSync("ip", ["netns", "delete", name]);
    }
  }
}
