// `npm run demo [-- URL]`: one origin, a scheduler, a seed and four peers, each a process of its own on this machine. The file goes from
// the origin to the seed once, and from there among the nodes: first over what each of them finds best, which on one machine is TCP,
// then over QUIC, with mutual TLS both times. Needs no root, takes free ports and a temporary directory, and leaves nothing behind.
import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import { rm, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQuiche } from "@damselfly/quic";
import { ChildError, killAll, killAllNow } from "./demo/child.mjs";
import { download, issueCertificates, startDaemon, startScheduler } from "./demo/cluster.mjs";
import { openOrigin } from "./demo/origin.mjs";
import { formatLegend, restoreTerminal, showProgress } from "./demo/progress.mjs";
import {
  bold,
  cyan,
  dim,
  formatIn,
  formatLength,
  formatRate,
  formatSeconds,
  formatTable,
  green,
  red,
  tableUnitOf,
  yellow,
} from "./demo/terminal.mjs";

const FILE_LENGTH = 256 * 2 ** 20;
const SEED = "seed";
const PEERS = ["peer-1", "peer-2", "peer-3", "peer-4"];
const NODES = [SEED, ...PEERS];
const PROTOCOL_NAMES = { tcp: "TCP", quic: "QUIC", grpc: "gRPC" };
const ROUND_TITLES = {
  auto: "Pieces over what is best to each node, as it is by default",
  quic: "Pieces over QUIC",
};
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
/** How long the seed may go on after the peers have everything. */
const SEED_LATE_MS = 30_000;

const HELP = `Usage: npm run demo            a file of ${formatLength(FILE_LENGTH)} from an origin of our own
       npm run demo -- URL     a file of yours; every node keeps a copy until the end

Runs a scheduler, a seed and ${PEERS.length} peers on this machine, and shows who got what from whom.
TMPDIR says where the copies go.
`;

const directory = mkdtempSync(join(tmpdir(), "damselfly-demo-"));
let isStopping = false;
// Whatever happens, nothing of ours stays: not even when somebody closes the terminal, or the pipe that we write to.
process.on("exit", () => {
  killAllNow();
  removeDirectory();
});
for (const signal of Object.keys(EXIT_CODES)) process.on(signal, () => stop(EXIT_CODES[signal]));
process.stdout.on("error", () => stop(1));

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!isStopping) {
    const reason = error instanceof ChildError ? error.message : (error.stack ?? error);
    console.error(`\n${red("The demo failed:")} ${reason}\n`);
    stop(1);
  }
}

async function main(args) {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(HELP);
    return 0;
  }
  if (args.length > 1 || (args[0] !== undefined && !/^https?:\/\//i.test(args[0]))) {
    console.error(
      `Cannot run the demo: '${args.join(" ")}' is not one http or https URL\n\n${HELP}`,
    );
    return 2;
  }
  console.log(
    `\n${bold("Damselfly demo")}   ${dim(`a scheduler, a seed and ${PEERS.length} peers, each a process of its own on this machine`)}\n`,
  );
  const origin = args[0] === undefined ? await openOwnOrigin() : { url: args[0] };
  fact("origin", origin.url);
  if (origin.sha256 !== undefined) {
    fact(
      "file",
      `${formatLength(origin.length)} of random bytes, SHA-256 ${origin.sha256.slice(0, 16)}…`,
    );
  }
  const certificates = join(directory, "certs");
  await issueCertificates(certificates, ["scheduler", ...NODES]);
  fact("security", "mutual TLS between all of them, certificates by dfdaemon certs");

  let isRight = true;
  for (const protocol of await usableProtocols()) {
    isRight = (await runRound({ protocol, origin, certificates })) && isRight;
  }
  await origin.close?.();
  if (!isRight) throw new ChildError("a node got another file than the origin has");
  console.log(`\n${dim("Everything is stopped and removed.")}`);
  if (args[0] === undefined) console.log(dim("A file of yours: npm run demo -- URL"));
  console.log();
  return 0;
}

async function openOwnOrigin() {
  const needed = FILE_LENGTH * (1 + NODES.length);
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize < needed) {
    throw new ChildError(
      `${tmpdir()} has ${formatLength(bavail * bsize)} left, expected ${formatLength(needed)}; TMPDIR names another place`,
    );
  }
  return await openOrigin({ path: join(directory, "model.bin"), length: FILE_LENGTH });
}

async function usableProtocols() {
  try {
    await loadQuiche();
    return ["auto", "quic"];
  } catch (error) {
    fact("QUIC", yellow(`left out: ${error.message}`));
    return ["auto"];
  }
}

/** One protocol, from nothing to five copies. Returns whether all of them are right. */
async function runRound({ protocol, origin, certificates }) {
  console.log(`\n${bold(ROUND_TITLES[protocol])}${formatLegend()}\n`);
  const work = join(directory, protocol);
  const scheduler = await startScheduler({ directory: work, certificates });
  const start = (name) =>
    startDaemon({ name, directory: work, certificates, protocol, scheduler, seed: name === SEED });
  const nodes = await Promise.all(NODES.map(start));
  const [seed, ...peers] = nodes;

  const before = await origin.count?.();
  let contentLength = origin.length;
  const onEvent = (event) => {
    if (event.event === "started") contentLength = event.contentLength;
  };
  const fetch = (node) => {
    const output = join(work, `${node.name}.out`);
    return download(node, { url: origin.url, output, onEvent }).done;
  };
  const everything = Promise.all(peers.map(fetch)).then(async (results) => {
    await untilIdle(seed);
    return results;
  });
  const results = await Promise.race([
    showProgress(nodes, () => contentLength, everything),
    firstDeath([scheduler, ...nodes]),
  ]);
  const after = await origin.count?.();
  const seedCounts = await seed.metrics();
  // What the seed has is checked like everybody's: from its own disk, or it would have been among the results.
  await fetch(seed);

  const rows = [
    {
      name: SEED,
      seconds: seedCounts.taskSeconds,
      fromOrigin: seedCounts.fromOrigin,
      fromNodes: new Map(),
      fromUnnamed: seedCounts.fromParents,
    },
    ...results.map((result, index) => ({
      name: PEERS[index],
      seconds: result.seconds,
      fromOrigin: result.fromOrigin,
      fromNodes: new Map(
        Object.entries(result.fromParents).map(([host, bytes]) => [nameOf(host), bytes]),
      ),
    })),
  ];
  for (const row of rows) {
    row.sha256 = await digestOf(join(work, `${row.name}.out`));
    row.isRight = row.sha256 === (origin.sha256 ?? rows[0].sha256);
  }
  const served =
    before === undefined
      ? undefined
      : {
          bytes: after.served - before.served,
          requestCount: after.requestCount - before.requestCount,
        };
  const carriers = await carriersOf(nodes);
  report({ protocol, carriers, rows, contentLength, served, nodes, origin });
  await Promise.all([...nodes, scheduler].map(({ child }) => child.stop()));
  await rm(work, { recursive: true });
  return rows.every(({ isRight }) => isRight);
}

/** The protocols that brought pieces, the one that brought most first. */
async function carriersOf(nodes) {
  const bytes = new Map();
  for (const { received } of await Promise.all(nodes.map((node) => node.metrics()))) {
    for (const [protocol, length] of received)
      bytes.set(protocol, (bytes.get(protocol) ?? 0) + length);
  }
  return [...bytes].filter(([, length]) => length > 0).toSorted(([, a], [, b]) => b - a);
}

function report({ protocol, carriers, rows, contentLength, served, nodes, origin }) {
  const unit = tableUnitOf(contentLength);
  const amount = (bytes, paint = (text) => text) =>
    bytes ? paint(formatIn(unit, bytes)) : dim("·");
  const total = (part) => rows.reduce((sum, row) => sum + (part(row) ?? 0), 0);
  const head = [`${unit.name} from`, "origin", ...NODES, "time", "rate", "SHA-256"].map(dim);
  const body = rows.map((row) => [
    row.name,
    amount(row.fromOrigin, yellow),
    ...NODES.map((name) => amount(row.fromNodes.get(name), green)),
    row.seconds === 0 ? dim("·") : formatSeconds(row.seconds),
    cyan(formatRate(contentLength, row.seconds)),
    row.isRight ? `${green("✓")} ${row.sha256.slice(0, 8)}` : red(`✗ ${row.sha256.slice(0, 8)}`),
  ]);
  const sums = [
    dim("gave"),
    amount(
      total(({ fromOrigin }) => fromOrigin),
      yellow,
    ),
    ...NODES.map((name) =>
      amount(
        total(({ fromNodes }) => fromNodes.get(name)),
        green,
      ),
    ),
    "",
    "",
    "",
  ];
  console.log();
  for (const line of formatTable([head, ...body, sums])) console.log(line);
  console.log();

  const readByNodes = total(({ fromOrigin }) => fromOrigin);
  const shared = total(({ fromNodes, fromUnnamed = 0 }) =>
    [...fromNodes.values()].reduce((sum, bytes) => sum + bytes, fromUnnamed),
  );
  const times = (bytes) =>
    bold(`${(contentLength > 0 ? bytes / contentLength : 1).toFixed(2)}x the file`);
  console.log(
    served === undefined
      ? `  The nodes read ${formatLength(readByNodes)} from the origin: ${times(readByNodes)}.`
      : `  The origin counted ${formatLength(served.bytes)} in ${served.requestCount} requests: ${times(served.bytes)}.`,
  );
  const same = rows.every(({ isRight }) => isRight);
  const verdict =
    origin.sha256 === undefined ? "the same on all of them" : "checked against the origin's";
  console.log(
    `  The nodes gave each other ${formatLength(shared)} over ${formatCarriers(carriers)}; ` +
      (same ? `SHA-256 ${verdict}.` : red("the copies differ.")),
  );
  const fallbackCount = nodes.reduce((sum, node) => sum + node.fallbackCount(), 0);
  if (protocol !== "auto" && fallbackCount > 0) {
    console.log(
      yellow(
        `  ${PROTOCOL_NAMES[protocol]} did not get through ${fallbackCount} times; another protocol did.`,
      ),
    );
  }
}

function formatCarriers(carriers) {
  const nameOfCarrier = (protocol) => PROTOCOL_NAMES[protocol] ?? protocol;
  if (carriers.length === 1) return nameOfCarrier(carriers[0][0]);
  return carriers
    .map(([protocol, length]) => `${nameOfCarrier(protocol)} (${formatLength(length)})`)
    .join(" and ");
}

/** Rejects as soon as a process ends that should not. */
async function firstDeath(parts) {
  return await Promise.race(
    parts.map(async ({ child }) => {
      const code = await child.ended;
      if (child.isStopping) return await new Promise(() => {});
      throw child.failure(`ended in the middle (${code ?? "by a signal"})`);
    }),
  );
}

/** The seed may be a little behind: peers can have had the last pieces from each other. */
async function untilIdle(seed) {
  const deadlineMs = performance.now() + SEED_LATE_MS;
  while ((await seed.metrics()).running > 0 && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `127.0.0.1-peer-2` is `peer-2`, `127.0.0.1-seed-seed` is `seed`. */
function nameOf(host) {
  return NODES.find((name) => host.startsWith(`127.0.0.1-${name}`)) ?? host;
}

async function digestOf(path) {
  await stat(path);
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  return hash.digest("hex");
}

function fact(name, text) {
  console.log(`  ${dim(name.padEnd(9))} ${text}`);
}

function stop(code) {
  if (isStopping) return;
  isStopping = true;
  restoreTerminal();
  void killAll().finally(() => process.exit(code));
}

function removeDirectory() {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
