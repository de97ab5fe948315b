// Results as tables for a terminal.
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { groupBy } from "./statistics.mjs";

const MIB = 2 ** 20;
const NOTHING = "·";

/**
 * @param results - see summarise.mjs
 * @param titles - of the paths, by name
 * @returns lines
 */
export function formatResults(results, titles) {
  const parts = groupBy(results, ({ path, mode }) => `${path} ${mode}`);
  return [...parts.values()].flatMap((part) => {
    const [{ path, mode }] = part;
    return [
      "",
      `${titles[path] ?? path}, ${mode} to ${mode}`,
      ...formatTable([rateHeader(part), ...part.map(rateRow)]),
      ...formatTimes(part),
    ];
  });
}

function rateHeader(part) {
  const bases = Object.keys(part[0].ratios);
  const ratios = bases.map((base) => `x ${base}`);
  const cost = ["CPU s/GB, sender", "receiver", "peak MiB, sender", "receiver"];
  return ["", "MB/s", "min", "max", ...ratios, "MiB", ...cost, ""];
}

function rateRow(result) {
  const { cpuSecondsPerGb, peakBytes } = result;
  return [
    nameOf(result),
    digits(result.rate),
    digits(result.rateMin),
    digits(result.rateMax),
    ...Object.values(result.ratios).map((ratio) => digits(ratio, 2)),
    digits(result.bytes === undefined ? undefined : result.bytes / MIB),
    digits(cpuSecondsPerGb.server, 2),
    digits(cpuSecondsPerGb.client, 2),
    digits(peakBytes.server === undefined ? undefined : peakBytes.server / MIB, 0),
    digits(peakBytes.client === undefined ? undefined : peakBytes.client / MIB, 0),
    remarksOf(result),
  ];
}

/** Milliseconds to the first byte, and of transfers of other sizes; nothing where the mode has none. */
function formatTimes(part) {
  const loadNames = [...new Set(part.flatMap(({ loadSeconds }) => Object.keys(loadSeconds)))];
  if (loadNames.length === 0) return [];
  const header = ["ms", "handshake", "new", "again", "pooled", ...loadNames, ""];
  const rows = part.map((result) => [
    nameOf(result),
    digits(result.handshakeMs),
    digits(result.newMs),
    digits(result.againMs) + (result.earlyCount > 0 ? "*" : ""),
    digits(result.pooledMs),
    ...loadNames.map((name) => {
      const seconds = result.loadSeconds[name];
      return digits(seconds === undefined ? undefined : seconds * 1000);
    }),
    "",
  ]);
  return [
    "",
    "Time to the first byte of 10 KB on a new, a second (*: 0-RTT) and a pooled connection; time of other transfers",
    ...formatTable([header, ...rows]),
  ];
}

/** What a reader must know beside the figures. */
function remarksOf({ isWhole, bytes, wantedBytes, failures, roundCount }) {
  const remarks = [];
  if (bytes !== undefined && !isWhole)
    remarks.push(`cut off at the limit: ${digits(wantedBytes / MIB)} MiB were wanted`);
  for (const [failure, group] of groupBy(failures, (entry) => entry.failure))
    remarks.push(`${group.length} of ${roundCount}: ${failure}`);
  return remarks.join("; ");
}

export function nameOf({ backend, tcp }) {
  return tcp === undefined ? backend : `${backend}, TCP ${tcp}`;
}

/** Three digits that matter, or as many decimals as asked for. */
export function digits(number, decimals) {
  if (number === undefined || !Number.isFinite(number)) return NOTHING;
  return number.toFixed(decimals ?? (number >= 100 ? 0 : number >= 10 ? 1 : 2));
}
