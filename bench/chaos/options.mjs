// The command line of chaos.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { NETWORKS } from "./network/network.mjs";
import { FAULT_GROUPS, FAULT_KINDS } from "./schedule/fault-kinds.mjs";

export const HELP = `Usage: npm run chaos [-- OPTIONS]

Runs a real cluster, a scheduler, a seed and peers, each a process tree of its own, and breaks it in every way while clients download.
Linux only; as root also the network and the disks are broken. Ends with 0 if every promise held, with 1 if one did not.

  --minutes N      how long things go wrong (3)
  --start N        the start value of the schedule: the same one, the same schedule (a random one, which is printed)
  --peers N        besides the seed (6)
  --only FAULTS    of the same schedule these only, separated by commas: ${FAULT_GROUPS.join(", ")};
                   or kinds: ${wrap(Object.keys(FAULT_KINDS))}
  --network HOW    ${NETWORKS.join(", ")} (the first that can be had)
  --dir DIR        where logs and, without root, nodes' disks are put while it runs (the system's temporary directory)
  --keep           keep the logs, even if all went well
  --print          print the schedule, and run nothing
  --help           this
`;

const OPTIONS = {
  minutes: { type: "string", default: "3" },
  start: { type: "string" },
  peers: { type: "string", default: "6" },
  only: { type: "string", default: "" },
  network: { type: "string" },
  dir: { type: "string" },
  keep: { type: "boolean", default: false },
  print: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

/** @throws {TypeError | RangeError} that says which option is wrong */
export function parseOptions(parameters) {
  const { values } = parseArgs({ args: parameters, options: OPTIONS });
  const { keep, print, help, network, dir } = values;
  if (network !== undefined && !NETWORKS.includes(network))
    throw new RangeError(`--network is ${String(network)}, expected one of ${NETWORKS.join(", ")}`);
  return {
    minutes: parseNumber("minutes", values.minutes, { min: 0.1, max: 24 * 60 }),
    start:
      values.start === undefined
        ? randomInt(1, 1_000_000)
        : parseWhole("start", values.start, { min: 0, max: 2 ** 31 }),
    peers: parseWhole("peers", values.peers, { min: 2, max: 40 }),
    only: parseFaults(values.only),
    network,
    dir,
    keep,
    print,
    help,
  };
}

/** The command line that runs the same again. */
export function formatCommand({ minutes, start, peers, only, network }) {
  return [
    "npm run chaos --",
    `--start ${start} --minutes ${minutes} --peers ${peers}`,
    ...(only.length === 0 ? [] : [`--only ${only.join(",")}`]),
    ...(network === undefined ? [] : [`--network ${network}`]),
  ].join(" ");
}

function parseFaults(text) {
  const names = text === "" ? [] : text.split(",");
  for (const name of names) {
    if (!(name in FAULT_KINDS) && !FAULT_GROUPS.includes(name))
      throw new RangeError(`--only names ${name}, expected faults that there are: see --help`);
  }
  return names;
}

function parseNumber(name, text, { min, max }) {
  const value = Number(text);
  if (text.trim() !== "" && value >= min && value <= max) return value;
  throw new RangeError(`--${name} is ${text}, expected a number from ${min} to ${max}`);
}

function parseWhole(name, text, bounds) {
  const value = parseNumber(name, text, bounds);
  if (Number.isInteger(value)) return value;
  throw new RangeError(`--${name} is ${text}, expected a whole number`);
}

function wrap(names) {
  const lines = [""];
  for (const name of names) {
    if (lines.at(-1).length + name.length > 90) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) === "" ? "" : ", "}${name}`;
  }
  return lines.join(`,\n${" ".repeat(19)}`);
}
