// Measures whole downloads between processes: `curl -o FILE`, a cold `dfget` of the same URL on one node, and a second node fetching the
// file from the first. Linux only. Run after `npm run setup`, on a machine that does nothing else:
//
//   node bench/files.mjs [--size MiB] [--rounds n] [--protocols quic,grpc,quic-plain,grpc-plain] [--origin nginx|node] [--dir DIR] [--out FILE]
//
// Rounds are interleaved: each measures everything once. Prints medians as a table to standard error, and every figure as JSON to
// standard output or FILE. Everything lies in a directory of its own below DIR (default: the temporary directory), and is removed.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Child, killAll, killAllNow } from "../scripts/demo/child.mjs";
import {
  download,
  issueCertificates,
  startDaemon,
  startScheduler,
} from "../scripts/demo/cluster.mjs";
import { openOrigin } from "../scripts/demo/origin.mjs";
import { formatTable } from "../scripts/demo/terminal.mjs";
import { findNginx, openNginx } from "./support/nginx-origin.mjs";
import {
  followPeak,
  readCpuSeconds,
  readEndedCpuSeconds,
  readPeakBytes,
  resetPeak,
} from "./support/process-usage.mjs";

const MIB = 2 ** 20;
const NODES = ["first", "second"];
const PROTOCOLS = ["quic", "grpc", "quic-plain", "grpc-plain"];

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "1024" },
    rounds: { type: "string", default: "5" },
    protocols: { type: "string", default: PROTOCOLS.join(",") },
    origin: { type: "string", default: findNginx() === undefined ? "node" : "nginx" },
    dir: { type: "string", default: tmpdir() },
    out: { type: "string" },
  },
});
const length = Number(values.size) * MIB;
const roundCount = Number(values.rounds);
const protocols = values.protocols.split(",");
const unknown = protocols.find((protocol) => !PROTOCOLS.includes(protocol));
if (unknown !== undefined)
  throw new RangeError(`Cannot measure ${unknown}: expected ${PROTOCOLS.join(", ")}`);

const directory = mkdtempSync(join(values.dir, "damselfly-bench-"));
process.on("exit", () => {
  killAllNow();
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => void killAll().finally(() => process.exit(1)));
}

await main();

async function main() {
  const path = join(directory, "file.bin");
  // It makes the file in any case.
  const ours = await openOrigin({ path, length });
  const nginx = values.origin === "nginx" ? await openNginx(path) : undefined;
  const origin = { ...(nginx ?? ours), sha256: ours.sha256 };
  const certificates = join(directory, "certs");
  await issueCertificates(certificates, ["scheduler", ...NODES]);

  const machine = describeMachine(nginx === undefined ? "a Node process" : findNginx());
  console.error(`${machine}\n${values.size} MiB, ${roundCount} rounds, in ${values.dir}`);
  const samples = [];
  for (let round = 0; round < roundCount; round += 1) {
    const load = loadavg()[0];
    const note = (sample) => samples.push({ ...sample, round, load });
    note(await measureCurl(origin));
    for (const protocol of protocols) {
      for (const sample of await measureNodes(protocol, origin, certificates)) note(sample);
    }
    console.error(`round ${round + 1} of ${roundCount} done, load before it ${load.toFixed(2)}`);
  }
  await nginx?.close();
  await ours.close();

  const results = summarise(samples);
  for (const line of formatResults(results)) console.error(line);
  const report = JSON.stringify({ machine, length, roundCount, results, samples }, undefined, 2);
  if (values.out === undefined) console.log(report);
  else writeFileSync(values.out, `${report}\n`);
}

async function measureCurl(origin) {
  const output = join(directory, "curl.out");
  await settle();
  const sample = await measure("curl", { origin: origin.pid }, () => {
    const child = new Child("curl", ["curl", "-sS", "--noproxy", "*", "-o", output, origin.url]);
    return { child, done: child.success() };
  });
  await assertContent(output, origin.sha256);
  await rm(output);
  return { name: "curl -o FILE", ...sample };
}

/** A cold download on one node, and another node's from that one, between processes that are new. */
async function measureNodes(setup, origin, certificates) {
  const [protocol, isPlain] = setup.split("-");
  const work = join(directory, setup);
  const secured = isPlain === undefined ? { certificates } : {};
  const scheduler = await startScheduler({ directory: work, ...secured });
  const start = (name) => startDaemon({ name, directory: work, ...secured, protocol, scheduler });
  const [first, second] = await Promise.all(NODES.map(start));
  const pids = {
    origin: origin.pid,
    scheduler: scheduler.child.pid,
    first: first.child.pid,
    second: second.child.pid,
  };
  const fetch = async (node) => {
    const output = join(work, `${node.name}.out`);
    let result;
    await settle();
    const sample = await measure("dfget", pids, () => {
      const { child, done } = download(node, { url: origin.url, output });
      return { child, done: done.then((last) => (result = last)) };
    });
    await assertContent(output, origin.sha256);
    const fromFirst = result.fromParents["127.0.0.1-first"] ?? 0;
    const expected = node === first ? result.fromOrigin : fromFirst;
    if (expected !== length || first.fallbackCount() + second.fallbackCount() > 0) {
      throw new Error(`${node.name} was to get all bytes one way, got ${JSON.stringify(result)}`);
    }
    return sample;
  };
  const cold = await fetch(first);
  const again = await fetch(second);
  await Promise.all([first, second, scheduler].map(({ child }) => child.stop()));
  await rm(work, { recursive: true });
  const how = `${protocol}, ${isPlain === undefined ? "mutual TLS" : "plain"}`;
  return [
    { name: "dfget, cold", ...cold },
    { name: `dfget, from the first, ${how}`, ...again },
  ];
}

/**
 * Wall time from a process's start to its end; CPU seconds in that time of it and of the processes that serve it; and the peak memory
 * of each.
 *
 * @param name - what to call the process itself
 * @param pids - of the others, by name
 */
async function measure(name, pids, start) {
  const cpuBefore = new Map(Object.entries(pids).map(([role, pid]) => [role, readCpuSeconds(pid)]));
  for (const pid of Object.values(pids)) resetPeak(pid);
  const endedBefore = readEndedCpuSeconds();
  const startedAt = performance.now();
  const { child, done } = start();
  const peakOf = followPeak(child.pid);
  await done;
  const seconds = (performance.now() - startedAt) / 1000;
  const cpuSeconds = { [name]: toHundredths(readEndedCpuSeconds() - endedBefore) };
  const peakBytes = { [name]: peakOf() };
  for (const [role, pid] of Object.entries(pids)) {
    cpuSeconds[role] = toHundredths(readCpuSeconds(pid) - cpuBefore.get(role));
    peakBytes[role] = readPeakBytes(pid);
  }
  return { seconds, cpuSeconds, peakBytes };
}

/**
 * The same start for everybody: what was written before is on disk, and there is memory for what will be. A virtual machine's host may
 * give it memory only page by page as it is touched, and take back what was freed a while ago: writing 1 GiB took 3.0 s of CPU without
 * this on a Firecracker guest, and 0.3 s with it.
 */
async function settle() {
  execFileSync("sync");
  const path = join(directory, "touched");
  const file = await open(path, "w");
  const zeros = Buffer.alloc(4 * MIB);
  for (let offset = 0; offset < length + 256 * MIB; offset += zeros.byteLength) {
    await file.write(zeros, 0, zeros.byteLength, offset);
  }
  await file.close();
  await rm(path);
}

async function assertContent(path, sha256) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk);
  if (hash.digest("hex") !== sha256) throw new Error(`${path} is not what the origin has`);
}

/** Medians by name, in the order in which they were first measured, and how they compare with curl's. */
function summarise(samples) {
  const results = [...groupByName(samples)].map(([name, group]) => ({
    name,
    count: group.length,
    seconds: median(group.map(({ seconds }) => seconds)),
    secondsMin: Math.min(...group.map(({ seconds }) => seconds)),
    secondsMax: Math.max(...group.map(({ seconds }) => seconds)),
    cpuSeconds: medians(group.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: medians(group.map(({ peakBytes }) => peakBytes)),
  }));
  const curl = results[0];
  return results.map((result) => ({
    ...result,
    timesCurl: result.seconds / curl.seconds,
    timesCurlCpu: total(result.cpuSeconds) / total(curl.cpuSeconds),
  }));
}

function groupByName(samples) {
  const groups = new Map();
  for (const sample of samples)
    groups.set(sample.name, [...(groups.get(sample.name) ?? []), sample]);
  return groups;
}

function formatResults(results) {
  const roles = ["curl", "dfget", "first", "second", "scheduler", "origin"];
  const title = ["", "s", "min", "max", "MiB/s", "x curl", "CPU s", "x curl", ...roles, ""];
  const cpu = results.map((result) => [
    result.name,
    result.seconds.toFixed(2),
    result.secondsMin.toFixed(2),
    result.secondsMax.toFixed(2),
    (length / MIB / result.seconds).toFixed(0),
    result.timesCurl.toFixed(2),
    total(result.cpuSeconds).toFixed(2),
    result.timesCurlCpu.toFixed(2),
    ...roles.map((role) => result.cpuSeconds[role]?.toFixed(2) ?? ""),
    "",
  ]);
  const peaks = results.map((result) => [
    result.name,
    ...roles.map((role) => {
      const bytes = result.peakBytes[role];
      return bytes === undefined ? "" : (bytes / MIB).toFixed(0);
    }),
    "",
  ]);
  return [
    "",
    "Wall time, and CPU seconds of every process",
    ...formatTable([title, ...cpu]),
    "",
    "Peak memory, MiB",
    ...formatTable([["", ...roles, ""], ...peaks]),
  ];
}

function describeMachine(origin) {
  const [{ model }] = cpus();
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${cpus().length} x ${model}, ${memory} GiB, Linux ${release()}, Node ${process.version}, origin ${origin}`;
}

function medians(records) {
  const names = new Set(records.flatMap((record) => Object.keys(record)));
  return Object.fromEntries(
    [...names].map((name) => [name, median(records.map((record) => record[name] ?? 0))]),
  );
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function total(record) {
  return Object.values(record).reduce((sum, value) => sum + value, 0);
}

function toHundredths(seconds) {
  return Math.round(seconds * 100) / 100;
}
