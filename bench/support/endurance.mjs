// Whether memory and handles stay where they are while much goes through.
import { setTimeout as pause } from "node:timers/promises";
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { fileLimitMs, openFileMode } from "./file-mode.mjs";
import { openPair } from "./pair.mjs";
import { formatUsage } from "./soak.mjs";

const MIB = 2 ** 20;
const GB = 1e9;
const TOTAL_BYTES = 10 * GB;
const PIECE_LENGTH = 4 * MIB;
const SMALL = 10_000;
/** Longer than anything that still has to end, but for idle time-outs. */
const QUIET_MS = 1_000;

/**
 * Memory to memory: 10 GB in pieces of 4 MiB with a look at each side after every tenth; then 10,000 small pieces and 1,000 cancelled
 * ones, with a look at what is open after each.
 */
export async function endureMemory(path, backend, { isQuick, parallel }, report) {
  const scale = isQuick ? 0.01 : 1;
  const pair = await openPair(path, backend);
  const { client } = pair;
  const steps = [];
  const look = async (what) => {
    await pause(QUIET_MS);
    const [atServer, atClient] = await Promise.all(
      [pair.server, client].map((side) => side.call("usage", { collect: true })),
    );
    steps.push({ what, server: atServer, client: atClient });
    report.line(`${backend.name}: ${what}: ${formatUsage(atServer)}; ${formatUsage(atClient)}`);
  };
  const fetch = async (load) => {
    const limitMs = 600_000;
    const fetched = await client.call("fetch", { ...load, limitMs }, limitMs);
    if (!fetched.isWhole) throw new Error("Cannot fetch it all within 10 minutes");
  };
  try {
    await fetch({ pieceLength: SMALL, pieceCount: 10, parallel });
    await look("start");
    const pieceCount = Math.ceil((scale * TOTAL_BYTES) / 10 / PIECE_LENGTH);
    for (let tenth = 1; tenth <= 10; tenth += 1) {
      await fetch({ pieceLength: PIECE_LENGTH, pieceCount, parallel });
      await look(`${((tenth * pieceCount * PIECE_LENGTH) / GB).toFixed(1)} GB`);
    }
    const small = Math.round(10_000 * scale);
    await fetch({ pieceLength: SMALL, pieceCount: small, parallel: 64 });
    await look(`${small} pieces of 10 KB`);
    const cancelled = Math.round(1_000 * scale);
    await client.call("cancel", { pieceLength: PIECE_LENGTH, count: cancelled }, 120_000);
    await look(`${cancelled} cancelled`);
    return { mode: "memory", backend: backend.name, steps };
  } finally {
    await pair.close();
  }
}

/** File to file: the same amount through two daemons, file by file. */
export async function endureFiles(path, open, backend, options, report) {
  const { directory, files, isQuick } = options;
  const length = isQuick ? 8 * MIB : 1024 * MIB;
  const limitMs = fileLimitMs(options, path);
  const mode = await openFileMode(open, { length, limitMs, directory, files });
  const steps = [];
  try {
    for (let number = 1; number <= 10; number += 1) {
      const samples = await mode.sample(backend);
      const sample = samples.at(-1);
      if (sample.bulk === undefined) throw new Error(sample.failure ?? sample.whyNot);
      const what = `${((number * length) / GB).toFixed(1)} GB`;
      const [server, client] = [sample.server, sample.client].map(({ peakBytes, fileCount }) => ({
        rssBytes: peakBytes,
        peakBytes,
        fileCount,
      }));
      steps.push({ what, server, client });
      report.line(
        `${backend.name}: ${what}: peak ${toMib(server.peakBytes)}, ${toMib(client.peakBytes)} MiB`,
      );
    }
  } finally {
    await mode.close();
  }
  return { mode: "file", backend: backend.name, steps };
}

export function formatEndurance({ mode, backend, steps }) {
  const header = [
    "",
    "sender MiB",
    "peak",
    "handles",
    "files",
    "receiver MiB",
    "peak",
    "handles",
    "files",
    "",
  ];
  const side = ({ rssBytes, peakBytes, resourceCount, fileCount }) => [
    toMib(rssBytes),
    toMib(peakBytes),
    String(resourceCount ?? "·"),
    String(fileCount ?? "·"),
  ];
  const rows = steps.map(({ what, server, client }) => [
    what,
    ...side(server),
    ...side(client),
    "",
  ]);
  return [
    "",
    `Memory and handles, ${mode} to ${mode}, ${backend}`,
    ...formatTable([header, ...rows]),
  ];
}

function toMib(bytes) {
  return (bytes / MIB).toFixed(0);
}
