// The command line of the bench.
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";

export const MODES = ["memory", "file"];

export const HELP = `Usage: npm run bench [-- OPTIONS]

Measures QUIC, TCP, gRPC and curl, side by side, between two processes: from memory to memory and from file to file; over
loopback, over veth pairs and over a bad link. Everything but loopback needs Linux and root. Prints tables.

What to measure:
  --only NAMES     of paths, backends, modes, separated by commas: everything else is left out
                   paths: loopback, veth-1500, veth-9000, bad
                   backends: {BACKENDS}
                   modes: memory, file
  --rounds N       of each path and mode, backends taking turns (5)
  --minutes N      no further round starts when a path's share of this is used up (25)
  --quick          one small round, to see that everything works
  --bulk MIB       length of the large transfer from memory to memory (256)
  --file MIB       length of the file from file to file (1024 over veth-1500, else 256)
  --parallel N     pieces at a time in the large transfer (4)
  --limit S        for each timed transfer: what has come by then counts (memory 8, file 60, file over the bad link 20)

The bad link:
  --rtt MS         there and back (50)
  --loss PERCENT   each way (1)
  --rate MBIT      each way; 0: no limit (1000)
  --seed N         of the losses (1)
  --emulator HOW   netem, own (a process between two TUN devices), or auto: netem where the kernel has it (auto)

Instead of all this:
  --cold           1 GiB from a local origin: dfget with its daemon beside curl
  --start          dfget of 10 KB, and of a file on disk, beside node -e 0
  --footprint N    memory of a daemon: idle, and after each of N GiB from an origin
  --grid           quic with cubic, with BBR and as it decides itself, over delays of 0 to 100 ms and losses of 0 to 2 %
  --memory         10 GB through one pair of processes, 10,000 pieces, 1,000 cancelled ones: memory and handles
  --idle           1,000 idle connections in the pool: memory and CPU
  --soak MINUTES   a server that is killed again and again, cancelled and stalling downloads: memory and handles

What comes out:
  --json FILE      every figure
  --svg FILE       a picture of the rates
  --dir DIR        where files are put while it runs ({TMPDIR})
  --help           this
`;

const OPTIONS = {
  only: { type: "string", default: "" },
  rounds: { type: "string", default: "5" },
  minutes: { type: "string", default: "25" },
  quick: { type: "boolean", default: false },
  bulk: { type: "string" },
  file: { type: "string" },
  parallel: { type: "string", default: "4" },
  limit: { type: "string" },
  rtt: { type: "string", default: "50" },
  loss: { type: "string", default: "1" },
  rate: { type: "string", default: "1000" },
  seed: { type: "string", default: "1" },
  emulator: { type: "string", default: "auto" },
  cold: { type: "boolean", default: false },
  start: { type: "boolean", default: false },
  footprint: { type: "string" },
  grid: { type: "boolean", default: false },
  memory: { type: "boolean", default: false },
  idle: { type: "boolean", default: false },
  soak: { type: "string" },
  json: { type: "string" },
  svg: { type: "string" },
  dir: { type: "string", default: tmpdir() },
  help: { type: "boolean", default: false },
};

/** @throws {TypeError | RangeError} that says which option is wrong */
export function parseOptions(parameters) {
  const { values } = parseArgs({ args: parameters, options: OPTIONS });
  const isQuick = values.quick;
  return {
    only: values.only === "" ? [] : values.only.split(","),
    rounds: isQuick ? 1 : toNumber(values, "rounds", { least: 1, isWhole: true }),
    minutes: toNumber(values, "minutes", { least: 0.1 }),
    isQuick,
    bulkBytes: toBytes(values, "bulk"),
    fileBytes: toBytes(values, "file"),
    parallel: toNumber(values, "parallel", { least: 1, isWhole: true }),
    limitMs:
      values.limit === undefined ? undefined : toNumber(values, "limit", { least: 0.1 }) * 1000,
    link: {
      rttMs: toNumber(values, "rtt", { least: 0 }),
      lossPercent: toNumber(values, "loss", { least: 0, most: 100 }),
      rateMbit: toNumber(values, "rate", { least: 0 }),
      seed: toNumber(values, "seed", { least: 0, isWhole: true }),
      emulator: toEmulator(values.emulator),
    },
    task:
      ["cold", "start", "grid", "memory", "idle"].find((name) => values[name]) ??
      (values.footprint && "footprint") ??
      (values.soak && "soak") ??
      "compare",
    footprintFiles:
      values.footprint === undefined
        ? 0
        : toNumber(values, "footprint", { least: 1, isWhole: true }),
    soakMinutes: values.soak === undefined ? 0 : toNumber(values, "soak", { least: 0.1 }),
    json: values.json,
    svg: values.svg,
    directory: values.dir,
    isHelp: values.help,
  };
}

/**
 * Splits what `--only` names into paths, backends and modes; all of a kind where none of it is named.
 *
 * @param known - `{ paths, backends, modes }`, the names of each
 * @throws {RangeError} where a name is of no kind
 */
export function selectNames(only, known) {
  const all = Object.values(known).flat();
  const unknown = only.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new RangeError(`Cannot measure only ${unknown}: expected some of ${all.join(", ")}`);
  return Object.fromEntries(
    Object.entries(known).map(([kind, names]) => {
      const chosen = names.filter((name) => only.includes(name));
      return [kind, chosen.length === 0 ? names : chosen];
    }),
  );
}

function toEmulator(text) {
  if (["auto", "netem", "own"].includes(text)) return text;
  throw new RangeError(`Cannot take --emulator ${text}: expected netem, own or auto`);
}

function toNumber(values, name, { least, most = Infinity, isWhole = false }) {
  const text = values[name];
  const number = Number(text);
  const isRight = text.trim() !== "" && number >= least && number <= most;
  if (!isRight || (isWhole && !Number.isInteger(number))) {
    const range = most === Infinity ? `at least ${least}` : `${least} to ${most}`;
    throw new RangeError(
      `Cannot take --${name} ${text}: expected a ${isWhole ? "whole " : ""}number, ${range}`,
    );
  }
  return number;
}

function toBytes(values, name) {
  return values[name] === undefined
    ? undefined
    : toNumber(values, name, { least: 0.001 }) * 2 ** 20;
}
