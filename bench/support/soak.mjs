// A downloader that must survive: its server is killed and frozen again and again, its readers give up and fall asleep. Afterwards it
// must hold what it held at the start.
import { setTimeout as pause } from "node:timers/promises";
import { openPair } from "./pair.mjs";

const SMALL = 10_000;
const PARALLEL = 8;
/** The compiler and the allocators have settled after that. */
const WARM_MS = 15_000;
/** Between two harms to the server, on average. */
const HARM_MS = 4_000;
const FREEZE_MS = 1_000;
/** What is still under way when the soak ends has ended after that: the longest time-out is a stall's, 15 s. */
const QUIET_MS = 20_000;
const MIB = 2 ** 20;
/** A pool may hold a few connections more than it did, and a heap breathes: a leak shows over hundreds of kills. */
const SLACK_COUNT = 8;
const SLACK_BYTES = 64 * MIB;

/**
 * @returns counts of what was done, `before` and `after`: what the downloading process holds, and `problems`: what is not as it was
 */
export async function soak(path, backend, { minutes, isQuick }, report) {
  const pair = await openPair(path, backend);
  const scale = isQuick ? 0.1 : 1;
  try {
    const { client } = pair;
    await client.call("startSoak", { parallel: PARALLEL });
    await pause(WARM_MS * scale);
    await client.call("stopSoak", {}, 60_000);
    const before = await client.call("usage", { collect: true });
    report.line(`at the start: ${formatUsage(before)}`);
    await client.call("startSoak", { parallel: PARALLEL });
    const harms = await harmServer(pair, minutes, report);
    const counts = await client.call("stopSoak", {}, 120_000);
    await pause(QUIET_MS * scale);
    await client.call("fetch", { pieceLength: SMALL, pieceCount: 1, parallel: 1, limitMs: 10_000 });
    const after = await client.call("usage", { collect: true });
    report.line(`at the end: ${formatUsage(after)}`);
    return {
      backend: backend.name,
      minutes,
      ...counts,
      ...harms,
      before,
      after,
      problems: findProblems({ before, after, counts }),
    };
  } finally {
    await pair.close();
  }
}

export function formatSoak(result) {
  const { backend, pieces, bytes, cancels, stalls, kills, freezes, failures, problems } = result;
  const failed = Object.entries(failures).map(([code, count]) => `${count} ${code}`);
  return [
    "",
    `Soak of ${result.minutes} minutes, ${backend}`,
    `  ${pieces} pieces, ${(bytes / 1e9).toFixed(1)} GB, ${cancels} cancelled, ${stalls} readers asleep`,
    `  server killed ${kills} times, frozen ${freezes} times; downloads failed: ${failed.join(", ") || "none"}`,
    `  before: ${formatUsage(result.before)}`,
    `  after:  ${formatUsage(result.after)}`,
    problems.length === 0 ? "  all as it was" : `  NOT as it was: ${problems.join("; ")}`,
  ];
}

/** Kills the server, with a new one on its port, or freezes it for a second. */
async function harmServer(pair, minutes, report) {
  const endAt = performance.now() + minutes * 60_000;
  const harms = { kills: 0, freezes: 0 };
  let saidAt = performance.now();
  while (performance.now() < endAt) {
    await pause(Math.min(HARM_MS * (0.5 + Math.random()), Math.max(0, endAt - performance.now())));
    if (Math.random() < 0.7) {
      await pair.restart();
      harms.kills += 1;
    } else {
      pair.server.kill("SIGSTOP");
      await pause(FREEZE_MS);
      pair.server.kill("SIGCONT");
      harms.freezes += 1;
    }
    if (performance.now() - saidAt > 30_000) {
      saidAt = performance.now();
      report.line(`${harms.kills} kills: ${formatUsage(await pair.client.call("usage"))}`);
    }
  }
  return harms;
}

function findProblems({ before, after, counts }) {
  const problems = [];
  if (counts.wrong.length > 0) problems.push(`${counts.wrong.length} pieces were wrong`);
  if (after.fileCount > before.fileCount + SLACK_COUNT)
    problems.push(`${after.fileCount} files open, ${before.fileCount} before`);
  if (after.resourceCount > before.resourceCount + SLACK_COUNT)
    problems.push(`${after.resourceCount} handles, ${before.resourceCount} before`);
  if (after.rssBytes > before.rssBytes + SLACK_BYTES)
    problems.push(`${((after.rssBytes - before.rssBytes) / MIB).toFixed(0)} MiB more memory`);
  return problems;
}

export function formatUsage({ rssBytes, resourceCount, fileCount }) {
  return `${(rssBytes / MIB).toFixed(0)} MiB, ${resourceCount} handles, ${fileCount ?? "?"} files open`;
}
