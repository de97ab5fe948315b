// A large file from a local origin that nobody has yet: curl and dfget in turns.
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { settle } from "./disk.mjs";
import { openNodeWithOrigin } from "./node-with-origin.mjs";
import { median } from "./statistics.mjs";

const MIB = 2 ** 20;

/** @returns samples of both, by name */
export async function measureCold({ directory, rounds, fileBytes, isQuick }, report) {
  const length = fileBytes === undefined ? (isQuick ? 8 : 1024) * MIB : Math.round(fileBytes);
  const node = await openNodeWithOrigin({ length, directory });
  const samples = { curl: [], dfget: [] };
  const ways = {
    curl: () => node.curl(node.url()),
    dfget: (round) => node.dfget(node.url(`round=${round}`), { isForgotten: true }),
  };
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, run] of Object.entries(ways)) {
        await settle(directory, length);
        const sample = await run(round);
        samples[name].push(sample);
        report.line(`  round ${round + 1}: ${name}: ${sample.seconds.toFixed(2)} s`);
      }
    }
    return { length, origin: node.originKind, samples };
  } finally {
    await node.close();
  }
}

export function formatCold({ length, origin, samples }) {
  const base = median(samples.curl.map(({ seconds }) => seconds));
  const rows = Object.entries(samples).map(([name, of]) => {
    const seconds = of.map((sample) => sample.seconds);
    const middle = median(seconds);
    return [
      name,
      middle.toFixed(2),
      Math.min(...seconds).toFixed(2),
      Math.max(...seconds).toFixed(2),
      (middle / base).toFixed(2),
      median(of.map(({ cpuSeconds }) => cpuSeconds)).toFixed(2),
      (Math.max(...of.map(({ peakBytes }) => peakBytes)) / MIB).toFixed(0),
      "",
    ];
  });
  const header = ["", "s", "min", "max", "x curl", "CPU s", "peak MiB", ""];
  return [
    "",
    `${(length / MIB).toFixed(0)} MiB from a local origin (${origin}), cold, to a file; dfget with its daemon`,
    ...formatTable([header, ...rows]),
  ];
}
