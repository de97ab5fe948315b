// What is compared. Each scenario returns samples, of contenders in turns, and what is to be said of their medians.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openOrigin } from "../../scripts/demo/origin.mjs";
import { inNamespace } from "../support/namespaces.mjs";
import { findNginx, openNginx } from "../support/nginx.mjs";
import { badLink, listPaths } from "../support/paths.mjs";
import { check, curl, settle, timeTransfer } from "./measure.mjs";
import { forget, openOurs, openTheirs } from "./rivals.mjs";

const PEER_COUNT = 8;
const LOOPBACK = "127.0.0.1";
/** Time enough for Dragonfly's daemons with cubic on the bad link, of which there is one transfer a round. */
const LIMIT_MS = { clean: 60_000, bad: 90_000 };

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {number} mib - length of the file
 * @property {string} title
 * @property {() => string | undefined} whyNot
 * @property {(context: object) => Promise<object[]>} run - resolves with samples: `contender`, `seconds`, `bytes`, `isWhole`, and what else was counted
 * @property {{ what: string, value: string, of?: string, to: string, atLeast?: number, atMost?: number }[]} bars
 */

/** @type {Scenario[]} */
export const SCENARIOS = [
  betweenTwo({
    name: "peer",
    mib: 1024,
    title: "1 GiB from peer to peer, veth pair, MTU 1500, file to file",
    path: veth1500,
    limitMs: LIMIT_MS.clean,
    bars: [
      { what: "rate, damselfly to dragonfly", rateOf: "damselfly", to: "dragonfly", atLeast: 1.2 },
    ],
  }),
  {
    name: "cold",
    mib: 1024,
    title: "1 GiB from an origin on the same machine, cold, file to file",
    whyNot: whyNoNginx,
    run: runCold,
    bars: [
      {
        what: "time, damselfly to Dragonfly's seed",
        timeOf: "damselfly",
        to: "dragonfly",
        atMost: 1,
      },
      { what: "time, damselfly to curl", timeOf: "damselfly", to: "curl", atMost: 1.15 },
    ],
  },
  {
    name: "swarm",
    mib: 256,
    title: `256 MiB for ${PEER_COUNT} peers at once, with a seed, loopback`,
    whyNot: () => undefined,
    run: runSwarm,
    bars: [
      {
        what: "time until all have it, damselfly to dragonfly",
        timeOf: "damselfly",
        to: "dragonfly",
        atMost: 1.2,
      },
      {
        what: "what the origin served, to the file",
        countOf: "damselfly",
        count: "served",
        atMost: 1.02,
      },
      {
        what: "what the seed uploaded, to the file",
        countOf: "damselfly",
        count: "uploaded",
        atMost: 3,
      },
    ],
  },
  betweenTwo({
    name: "bad",
    mib: 128,
    title: "128 MiB from peer to peer, 50 ms, 1 % loss each way, 1 Gbit/s, TCP with cubic",
    path: bad,
    limitMs: LIMIT_MS.bad,
    bars: [
      { what: "rate, damselfly to dragonfly", rateOf: "damselfly", to: "dragonfly", atLeast: 10 },
    ],
  }),
];

function veth1500() {
  return listPaths(LINK).find(({ name }) => name === "veth-1500");
}

function bad({ directory }) {
  return badLink("bad", { ...LINK, directory });
}

const LINK = { rttMs: 50, lossPercent: 1, rateMbit: 1000, seed: 1 };

/** Two nodes of each, the first of which has the file. */
function betweenTwo({ path, limitMs, ...scenario }) {
  return {
    ...scenario,
    whyNot: () => path({ directory: "" }).whyNot(),
    async run({ directory, programs, length, rounds, report }) {
      const open = await path({ directory }).open();
      const server = { ip: open.serverIp, prefix: inNamespace(open.serverNamespace, []) };
      const client = { ip: open.clientIp, prefix: inNamespace(open.clientNamespace, []) };
      const file = { path: join(directory, "file.bin"), length, ...server };
      const origin = await openOrigin(file);
      const names = ["first", "second"];
      const ours = await openOurs({ directory, names, ips: [server.ip, client.ip] });
      const contenders = [];
      for (const rival of [ours, openTheirs({ directory, programs })]) {
        const scheduler = await rival.startScheduler(server);
        const first = await rival.startNode({ name: "first", scheduler, ...server });
        const second = await rival.startNode({ name: "second", scheduler, ...client });
        const output = join(directory, `${rival.name}.out`);
        await rival.fetch(first, { url: origin.url, output }).done;
        await check(output, origin.sha256);
        contenders.push({ rival, nodes: [scheduler, first, second], second });
      }
      const samples = [];
      const servedBefore = (await origin.count()).served;
      for (let round = 0; round < rounds; round += 1) {
        for (const { rival, second } of contenders) {
          const start = (output) => rival.fetch(second, { url: origin.url, output });
          const options = { sha256: origin.sha256, length, directory, limitMs };
          const sample = { contender: rival.name, ...(await timeTransfer(start, options)) };
          samples.push(sample);
          report(sample);
          await forget(second, origin.url);
        }
      }
      // A byte for a question what the file is now is no content.
      const { served } = await origin.count();
      if (served - servedBefore > length / 100)
        throw new Error(`Not all came from the peer: the origin served ${served - servedBefore}`);
      await stopAll(contenders);
      await origin.close();
      await open.close();
      return samples;
    },
  };
}

/** curl, a daemon of ours and a seed of theirs, in turns; each is asked by its own dfget. */
async function runCold({ directory, programs, length, rounds, report }) {
  const made = await openOrigin({ path: join(directory, "file.bin"), length });
  const nginx = await openNginx({
    path: join(directory, "file.bin"),
    directory: join(directory, "nginx"),
    ip: LOOPBACK,
  });
  const { sha256 } = made;
  const ours = await openOurs({ directory, names: ["seed"], ips: [LOOPBACK] });
  const contenders = [];
  for (const rival of [ours, openTheirs({ directory, programs })]) {
    const scheduler = await rival.startScheduler({});
    const seed = await rival.startNode({ name: "seed", scheduler, seed: true });
    contenders.push({ rival, nodes: [scheduler, seed], seed });
  }
  const samples = [];
  const take = async (contender, start) => {
    const options = { sha256, length, directory, limitMs: LIMIT_MS.clean };
    const sample = { contender, ...(await timeTransfer(start, options)) };
    samples.push(sample);
    report(sample);
  };
  for (let round = 0; round < rounds; round += 1) {
    await take("curl", curl(nginx.url));
    for (const { rival, seed } of contenders) {
      await take(rival.name, (output) => rival.fetch(seed, { url: nginx.url, output }));
      await forget(seed, nginx.url);
    }
  }
  await stopAll(contenders);
  await nginx.close();
  await made.close();
  return samples;
}

/** A cluster a round, and one at a time: nine daemons are enough for a machine. */
async function runSwarm({ directory, programs, length, rounds, report }) {
  const names = Array.from({ length: PEER_COUNT }, (_, index) => `peer-${index}`);
  const ips = [LOOPBACK];
  const file = join(directory, "file.bin");
  let sha256;
  const samples = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of ["ours", "theirs"]) {
      const home = join(directory, `${kind}-${round}`);
      mkdirSync(home);
      const rival =
        kind === "ours"
          ? await openOurs({ directory: home, names: ["seed", ...names], ips })
          : openTheirs({ directory: home, programs });
      const origin = await openOrigin({ path: file, length, sha256 });
      ({ sha256 } = origin);
      const scheduler = await rival.startScheduler({});
      const seed = await rival.startNode({ name: "seed", scheduler, seed: true });
      const peers = [];
      for (const name of names) peers.push(await rival.startNode({ name, scheduler }));

      await settle(directory, length);
      const outputs = names.map((name) => join(home, `${name}.out`));
      const startedAt = performance.now();
      await Promise.all(
        peers.map(
          (peer, index) => rival.fetch(peer, { url: origin.url, output: outputs[index] }).done,
        ),
      );
      const seconds = (performance.now() - startedAt) / 1000;
      for (const output of outputs) await check(output, sha256);
      const { served } = await origin.count();
      const uploaded = await rival.uploadedBytes(seed);
      const counts = { served: served / length, uploaded: uploaded / length };
      const sample = { contender: rival.name, isWhole: true, seconds, bytes: length, ...counts };
      samples.push(sample);
      report(sample);
      await stopAll([{ nodes: [scheduler, seed, ...peers] }]);
      await origin.close();
    }
  }
  return samples;
}

async function stopAll(contenders) {
  const children = contenders.flatMap(({ nodes }) => nodes.map(({ child }) => child));
  await Promise.all(children.map((child) => child.stop()));
}

function whyNoNginx() {
  return findNginx() === undefined ? "nginx is not installed" : undefined;
}
