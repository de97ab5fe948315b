// A long and lossy path by the kernel's own netem.
import { spawnSync } from "node:child_process";
import { addNamespace, inNamespace, whyNoNamespaces } from "./namespaces.mjs";

/**
 * netem loses what it is given, and a veth device gives it 64 KiB at a time: offloading is switched off, for which there must be ethtool.
 *
 * @returns why it cannot be had; undefined: it can
 */
export function whyNoNetem() {
  known ??= { why: probe() };
  return known.why;
}

let known;

function probe() {
  if (spawnSync("tc", ["-V"]).status !== 0) return "no tc command (iproute2)";
  if (spawnSync("ethtool", ["--version"]).status !== 0) return "no ethtool command";
  const whyNot = whyNoNamespaces();
  if (whyNot !== undefined) return whyNot;
  const space = addNamespace("netem");
  const { status } = runIn(space.name, ["tc", "qdisc", "add", "dev", "lo", "root", "netem"]);
  space.remove();
  return status === 0 ? undefined : "the kernel has no netem";
}

/** What each of the namespaces sends over `device` is delayed and lost from now on. */
export function addNetem(namespaces, options) {
  const { device, rttMs, lossPercent, rateMbit, queueBytes, seed = 1 } = options;
  const delayedBytes = (rateMbit * 125 * rttMs) / 2;
  const packetCount = Math.max(Math.ceil((queueBytes + delayedBytes) / 1500), 1000);
  const rate = rateMbit === 0 ? [] : ["rate", `${rateMbit}mbit`];
  for (const [index, name] of namespaces.entries()) {
    const offloads = OFFLOADS.flatMap((offload) => [offload, "off"]);
    mustRunIn(name, ["ethtool", "-K", device, ...offloads]);
    const discipline = ["tc", "qdisc", "add", "dev", device, "root", "netem"];
    const harm = ["delay", `${rttMs / 2}ms`, "loss", `${lossPercent}%`, ...rate];
    const limit = ["limit", String(packetCount)];
    mustRunIn(name, [...discipline, ...limit, ...harm, ...seedFor(name, seed + index)]);
  }
}

const OFFLOADS = ["tso", "gso", "gro", "tx-udp-segmentation"];

/** A start value for the losses, where tc and the kernel know of it (6.6 and newer). */
function seedFor(namespace, seed) {
  const parameters = ["seed", String(seed)];
  const trial = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%", ...parameters];
  if (runIn(namespace, trial).status !== 0) return [];
  mustRunIn(namespace, ["tc", "qdisc", "delete", "dev", "lo", "root"]);
  return parameters;
}

function runIn(namespace, command) {
  const [program, ...parameters] = inNamespace(namespace, command);
  return spawnSync(program, parameters, { encoding: "utf8" });
}

function mustRunIn(namespace, command) {
  const { status, stderr } = runIn(namespace, command);
  if (status !== 0) throw new Error(`Cannot ${command.join(" ")}: ${stderr.trim()}`);
}
