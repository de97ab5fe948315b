// The memory of one daemon: when nothing happens, and while a gibibyte after the other comes from an origin.
import { setTimeout as pause } from "node:timers/promises";
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { openNodeWithOrigin } from "./node-with-origin.mjs";
import { readResidentBytes } from "./process-usage.mjs";

const MIB = 2 ** 20;
const IDLE_MS = 5_000;

/** @returns resident memory after each file, and the most while it came, in bytes */
export async function measureFootprint({ directory, footprintFiles, isQuick }, report) {
  const length = (isQuick ? 8 : 1024) * MIB;
  const node = await openNodeWithOrigin({ length, directory });
  const steps = [];
  const look = (what, peakBytes) => {
    const rssBytes = readResidentBytes(node.daemonPid);
    steps.push({ what, rssBytes, peakBytes: peakBytes ?? rssBytes });
    report.line(`  ${what}: ${(rssBytes / MIB).toFixed(0)} MiB`);
  };
  try {
    await pause(isQuick ? 0 : IDLE_MS);
    look("idle");
    for (let count = 1; count <= footprintFiles; count += 1) {
      const { peakBytes } = await node.dfget(node.url(`file=${count}`), { isForgotten: true });
      look(`${((count * length) / MIB).toFixed(0)} MiB`, peakBytes);
    }
    return { steps };
  } finally {
    await node.close();
  }
}

export function formatFootprint({ steps }) {
  const rows = steps.map(({ what, rssBytes, peakBytes }) => [
    what,
    (rssBytes / MIB).toFixed(0),
    (peakBytes / MIB).toFixed(0),
    "",
  ]);
  return [
    "",
    "Memory of a daemon with its scheduler, MiB, after and while so much came from an origin",
    ...formatTable([["", "after", "peak", ""], ...rows]),
  ];
}
