// How much later the first piece comes where something on the way, or the parent itself, lets one protocol not through:
// `node bench/blocked.mjs [RTT_MS …]`, as root on Linux. Each figure is of new processes that have never met.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBackend } from "./support/backends.mjs";
import { undoAtExit } from "./support/cleanup.mjs";
import { createIdentities } from "./support/identities.mjs";
import { describeMachine, formatMachine } from "./support/machine.mjs";
import { badLink } from "./support/paths.mjs";
import { Peer } from "./support/peer/peer.mjs";
import { median } from "./support/statistics.mjs";

const MIB = 2 ** 20;
const TCP_PORT = 4005;
/** Nobody listens there. */
const CLOSED_PORT = 9;
const ROUNDS = 3;
const LOAD = { pieceLength: MIB, pieceCount: 16, parallel: 4, limitMs: 30_000 };

const CASES = [
  { name: "nothing" },
  { name: "UDP swallowed", block: "udp" },
  { name: "TCP port swallowed", block: TCP_PORT },
  { name: "TCP port closed", tcpPort: CLOSED_PORT },
];

const directory = mkdtempSync(join(tmpdir(), "damselfly-bench-"));
undoAtExit(() => rmSync(directory, { recursive: true, force: true }));
const rtts = process.argv.slice(2).map(Number);
console.log(`$ node bench/blocked.mjs ${rtts.join(" ")}\n${formatMachine(describeMachine())}`);
for (const rttMs of rtts.length > 0 ? rtts : [1, 50]) {
  console.log(`\n${rttMs} ms there and back, no losses, medians of ${ROUNDS}`);
  console.log("  in the way            first piece, ms   later by, ms   16 MiB in 4 lanes, ms");
  let usualMs;
  for (const { name, ...blocking } of CASES) {
    const samples = [];
    for (let round = 0; round < ROUNDS; round += 1) samples.push(await measure(rttMs, blocking));
    const firstMs = median(samples.map((sample) => sample.firstMs));
    const wholeMs = median(samples.map((sample) => sample.wholeMs));
    usualMs ??= firstMs;
    const figures = [
      firstMs.toFixed(0).padStart(15),
      (firstMs - usualMs).toFixed(0).padStart(14),
      wholeMs.toFixed(0).padStart(23),
    ];
    console.log(`  ${name.padEnd(20)} ${figures.join("")}`);
  }
}
process.exit();

async function measure(rttMs, { block, tcpPort }) {
  const link = { rttMs, lossPercent: 0, rateMbit: 1000, emulator: "own", directory, block };
  const path = badLink("blocked", link);
  const why = path.whyNot();
  if (why !== undefined) throw new Error(`Cannot measure: ${why}`);
  const open = await path.open();
  const backend = findBackend("auto").name;
  const { serverIp: ip, serverNamespace, clientNamespace } = open;
  const identities = await createIdentities(open);
  const [server, client] = [new Peer(serverNamespace), new Peer(clientNamespace)];
  try {
    const identity = identities.server;
    const parent = await server.call("serve", { backend, identity, ip, port: TCP_PORT });
    parent.ports.tcp = tcpPort ?? TCP_PORT;
    await client.call("openDownloader", { backend, identity: identities.client, parent });
    const first = await client.call("timeNew", { pieceLength: MIB, count: 1 });
    const whole = await client.call("fetch", LOAD, LOAD.limitMs + 10_000);
    if (!whole.isWhole) throw new Error("The transfer did not come to its end");
    return { firstMs: first.times[0], wholeMs: whole.seconds * 1000 };
  } finally {
    await Promise.all([server.end(), client.end()]);
    await open.close();
  }
}
