// What a download costs that moves next to nothing: starts of processes, one beside the other.
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { openNodeWithOrigin } from "./node-with-origin.mjs";
import { median } from "./statistics.mjs";

const MIB = 2 ** 20;
const SMALL = 10_000;
/** Starts are short and vary much. */
const ROUNDS_FACTOR = 4;

/** @returns milliseconds by what was done */
export async function measureStart({ directory, rounds, fileBytes, isQuick }, report) {
  const length = fileBytes === undefined ? (isQuick ? 8 : 1024) * MIB : Math.round(fileBytes);
  const large = await withNode({ length, directory }, rounds, report, async (node) => {
    await node.dfget(node.url());
    return { "dfget, on disk": () => node.dfget(node.url()) };
  });
  const small = await withNode({ length: SMALL, directory }, rounds, report, async (node) => ({
    "node -e 0": () => node.nothing(),
    "curl, 10 KB": () => node.curl(node.url()),
    "dfget, 10 KB": (round) => node.dfget(node.url(`round=${round}`)),
  }));
  return { length, milliseconds: { ...small, ...large } };
}

export function formatStart({ length, milliseconds }) {
  const base = median(milliseconds["node -e 0"]);
  const rows = Object.entries(milliseconds).map(([name, of]) => [
    name,
    median(of).toFixed(0),
    Math.min(...of).toFixed(0),
    Math.max(...of).toFixed(0),
    (median(of) / base).toFixed(2),
    "",
  ]);
  return [
    "",
    `Start to end; on disk: ${(length / MIB).toFixed(0)} MiB that the daemon has, and nobody else`,
    ...formatTable([["", "ms", "min", "max", "x node", ""], ...rows]),
  ];
}

/** Runs what `prepare` returns in turns. */
async function withNode(options, rounds, report, prepare) {
  const node = await openNodeWithOrigin(options);
  try {
    const ways = await prepare(node);
    const milliseconds = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
    for (let round = 0; round < rounds * ROUNDS_FACTOR; round += 1) {
      for (const [name, run] of Object.entries(ways)) {
        const { seconds } = await run(round);
        milliseconds[name].push(seconds * 1000);
      }
    }
    for (const [name, of] of Object.entries(milliseconds))
      report.line(`  ${name}: ${median(of).toFixed(0)} ms`);
    return milliseconds;
  } finally {
    await node.close();
  }
}
