// What the data plane's processes cost and bring: a file from an origin to a seed, and from there to another daemon, over mutual TLS, for
// several ways to run a daemon. A pair of daemons for each runs all the time, and they take turns, each round in another order, so that what
// the machine does meanwhile happens to all of them; each is compared with the first one in the same round. The pair that is measured is
// asked for its health.
// Daemons run for weeks, so each has done the same before, until its code is compiled: what runs once a piece takes some 5,000 pieces for
// that. --warm-ups 0 measures daemons that have just started. Each pair has nothing to do for some seconds before its turn, as daemons
// have. Linux only.
//
//   node bench/data-plane.mjs [--rounds 15] [--file MIB] [--workers 0,1,2] [--against DIR] [--protocol auto|tcp|quic|grpc] [--warm-ups 40] [--json FILE]
//
// `--against` compares with another checkout, set up and built, as it is by default.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { killAll } from "../scripts/demo/child.mjs";
import {
  download,
  issueCertificates,
  startDaemon,
  startScheduler,
} from "../scripts/demo/cluster.mjs";
import { openOrigin } from "../scripts/demo/origin.mjs";
import { formatTable } from "../scripts/demo/terminal.mjs";
import { assertSha256, settle } from "./support/disk.mjs";
import { forget } from "./support/forget.mjs";
import { describeMachine, formatMachine } from "./support/machine.mjs";
import { findNginx, openNginx } from "./support/nginx.mjs";
import { watchUsage } from "./support/process-usage.mjs";
import { treeOf } from "./support/process-tree.mjs";
import { median } from "./support/statistics.mjs";

const MIB = 2 ** 20;
/** How often a daemon is asked for its health, answered or not: it answers 50 a second from one address. Milliseconds. */
const PROBE_MS = 25;

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    file: { type: "string", default: "512" },
    workers: { type: "string", default: "0,1,2" },
    against: { type: "string" },
    protocol: { type: "string", default: "auto" },
    "warm-ups": { type: "string", default: "40" },
    json: { type: "string" },
  },
});
const rounds = Number(given.rounds);
const warmUps = Number(given["warm-ups"]);
const length = Number(given.file) * MIB;
const variants = [
  ...(given.against === undefined ? [] : [{ name: "before", root: given.against, sections: {} }]),
  ...given.workers.split(",").map((count) => ({
    name: `${count} workers`,
    sections: { dataPlane: { workers: count === "auto" ? "auto" : Number(count) } },
  })),
];

const machine = describeMachine();
const directory = mkdtempSync(join(tmpdir(), "damselfly-data-plane-"));
process.on("SIGINT", () => process.exit(130));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

console.log(formatMachine(machine));
const origin = await openSource();
const certificates = join(directory, "certs");
await issueCertificates(certificates, ["seed", "child", "scheduler"]);
const pairs = [];
for (const variant of variants) pairs.push(await startPair(variant));
for (let count = 0; count < warmUps; count += 1) {
  for (const pair of pairs) await warmUp(pair, count);
}
const samples = [];
for (let round = 0; round < rounds; round += 1) {
  for (const index of pairs.keys()) {
    const pair = pairs[(index + round) % pairs.length];
    const sample = await measure(pair, round);
    samples.push(sample);
    console.log(
      `  round ${round + 1}, ${sample.variant}: cold ${sample.cold.seconds.toFixed(2)} s, peer to peer ${sample.peer.seconds.toFixed(2)} s (${formatReceived(sample.peer)})`,
    );
  }
}
await killAll();
await origin.close();
for (const line of format()) console.log(line);
if (given.json !== undefined)
  writeFileSync(
    given.json,
    `${JSON.stringify({ machine, options: given, samples }, undefined, 1)}\n`,
  );
process.exit(0);

async function openSource() {
  const path = join(directory, "origin", "model.bin");
  mkdirSync(join(directory, "origin"));
  const ours = await openOrigin({ path, length });
  if (findNginx() === undefined) return ours;
  const nginx = await openNginx({ path, directory: join(directory, "nginx"), ip: "127.0.0.1" });
  const close = async () => {
    await nginx.close();
    await ours.close();
  };
  return { ...ours, ...nginx, close };
}

async function startPair(variant) {
  const work = join(directory, variant.name);
  const scheduler = await startScheduler({ directory: work, certificates });
  const start = (name) =>
    startDaemon({
      name,
      directory: work,
      certificates,
      protocol: given.protocol,
      scheduler,
      seed: name === "seed",
      sections: variant.sections,
      root: variant.root,
    });
  const [seed, child] = await Promise.all([start("seed"), start("child")]);
  return { variant: variant.name, work, seed, child };
}

/** Another task of the same bytes. */
async function warmUp({ work, seed, child }, count) {
  const url = `${origin.url}?warm-up=${count}`;
  let taskId;
  for (const node of [seed, child]) {
    const output = join(work, "warm-up.out");
    ({ taskId } = await download(node, { url, output }).done);
    rmSync(output);
  }
  for (const node of [seed, child]) await forget(node, taskId);
}

async function measure({ variant, work, seed, child }, round) {
  const url = `${origin.url}?round=${round}`;
  const latencies = [];
  let taskId;
  const transfer = async (node) => {
    await settle(work, length);
    const probes = [seed, child].map(({ healthPort }) => probe(healthPort));
    const pids = [seed, child].flatMap((daemon) => treeOf(daemon.child.pid));
    const usage = watchUsage(Object.fromEntries(pids.map((pid) => [pid, pid])));
    const output = join(work, `${node.name}.out`);
    const before = await node.metrics();
    const last = await download(node, { url, output }).done;
    const { cpuSeconds, peakBytes } = usage.take();
    for (const stop of probes) latencies.push(...(await stop()));
    ({ taskId } = last);
    await assertSha256(output, origin.sha256);
    rmSync(output);
    const { received } = await node.metrics();
    return {
      seconds: last.seconds,
      received: Object.fromEntries(
        [...received].map(([protocol, count]) => [
          protocol,
          count - (before.received.get(protocol) ?? 0),
        ]),
      ),
      cpuSeconds: sum(Object.values(cpuSeconds)),
      peakBytes: sum(Object.values(peakBytes)) / 2,
    };
  };
  const cold = await transfer(seed);
  const peer = await transfer(child);
  for (const node of [seed, child]) await forget(node, taskId);
  return { variant, round, cold, peer, latencies };
}

/**
 * Asks for the health again and again, each time on a connection of its own, whether or not there has been an answer to the question before:
 * then a daemon that is slow to answer is asked as often as any other. Call what is returned for how long each answer took, in ms.
 */
function probe(port) {
  const asking = [];
  const timer = setInterval(() => asking.push(askHealth(port)), PROBE_MS);
  return async () => {
    clearInterval(timer);
    return await Promise.all(asking);
  };
}

async function askHealth(port) {
  const startedAt = performance.now();
  await new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path: "/healthy", agent: false }, (answer) => {
      if (answer.statusCode === 200) answer.resume().once("end", resolve);
      else reject(new Error(`a daemon answered ${answer.statusCode} when asked for its health`));
    });
    request.once("error", reject);
  });
  return performance.now() - startedAt;
}

function format() {
  const of = (name) => samples.filter(({ variant }) => variant === name);
  const [base] = variants;
  const rate = (name, pick) =>
    length / MIB / median(of(name).map((sample) => pick(sample).seconds));
  /** Round by round, how much of the first one's speed, or how many times its CPU: the median, and the middle half. */
  const beside = (name, ratioOf) => {
    const bases = of(base.name);
    return formatSpread(of(name).map((sample, index) => ratioOf(sample, bases[index])));
  };
  const cells = (name, pick) => [
    rate(name, pick).toFixed(0),
    beside(name, (sample, before) => pick(before).seconds / pick(sample).seconds),
    median(of(name).map((sample) => pick(sample).cpuSeconds)).toFixed(2),
    beside(name, (sample, before) => pick(sample).cpuSeconds / pick(before).cpuSeconds),
  ];
  const rows = variants.map(({ name }) => {
    const latencies = of(name)
      .flatMap((sample) => sample.latencies)
      .toSorted((a, b) => a - b);
    return [
      name,
      ...cells(name, ({ cold }) => cold),
      ...cells(name, ({ peer }) => peer),
      (Math.max(...of(name).map(({ peer }) => peer.peakBytes)) / MIB).toFixed(0),
      (latencies[Math.floor(latencies.length * 0.99)] ?? 0).toFixed(0),
      (latencies.at(-1) ?? 0).toFixed(0),
    ];
  });
  const header = [
    "",
    "cold MiB/s",
    `x ${base.name}`,
    "CPU s",
    `x ${base.name}`,
    "peer MiB/s",
    `x ${base.name}`,
    "CPU s",
    `x ${base.name}`,
    "MiB a daemon",
    "health p99 ms",
    "max ms",
  ];
  return [
    "",
    `${length / MIB} MiB, ${given.protocol}, mutual TLS, medians of ${rounds} rounds, beside the first one's in the same round (the middle half of the rounds in brackets), ${describeWarmth()}; CPU and memory of both daemons with their processes`,
    ...formatTable([header, ...rows]),
  ];
}

/** `0.98 (0.95-1.01)`. */
function formatSpread(ratios) {
  const sorted = ratios.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))].toFixed(2);
  return `${median(sorted).toFixed(2)} (${at(0.25)}-${at(0.75)})`;
}

function describeWarmth() {
  if (warmUps === 0) return "daemons that have just started";
  return `daemons that have done it ${warmUps === 1 ? "once" : `${warmUps} times`} before`;
}

/** `1024 MiB over tcp`. */
function formatReceived({ received }) {
  return Object.entries(received)
    .filter(([, count]) => count > 0)
    .map(([protocol, count]) => `${(count / MIB).toFixed(0)} MiB over ${protocol}`)
    .join(", ");
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
