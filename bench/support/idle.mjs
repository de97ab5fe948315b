// What connections cost that nobody uses.
import { setTimeout as pause } from "node:timers/promises";
import { openPair } from "./pair.mjs";

const MIB = 2 ** 20;
const SMALL = 10_000;
const OBSERVE_MS = 10_000;
/** A pool tells parents apart by port and by name: so many of each make the connections. */
const SIDE = 32;

/** @returns what each side holds with one connection and with `count` of them, and the CPU it takes while nothing happens */
export async function measureIdle(path, backend, { isQuick }, report) {
  const count = isQuick ? 20 : 1000;
  const names = Array.from({ length: SIDE }, (_, number) => `node-${number}`);
  const serverCount = isQuick ? 2 : SIDE;
  const pair = await openPair(path, backend, { serverNames: names, serverCount });
  try {
    const parents = pair.parents.flatMap((parent) =>
      names.map((hostname) => ({ ...parent, hostId: `bench-${hostname}`, hostname })),
    );
    const load = { pieceLength: SMALL, parallel: 8 };
    await pair.client.call("connect", { ...load, parents: parents.slice(0, 1) });
    const before = await takeBoth(pair);
    report.line("one connection");
    const wanted = parents.slice(0, count);
    const connectionCount = await pair.client.call(
      "connect",
      { ...load, parents: wanted },
      120_000,
    );
    report.line(`${connectionCount} connections`);
    await pause(2_000);
    const after = await takeBoth(pair);
    await pause(isQuick ? 500 : OBSERVE_MS);
    const later = await takeBoth(pair, { collect: false });
    const seconds = (later.at - after.at) / 1000;
    const [client, server] = ["client", "server"].map((side) => ({
      beforeBytes: before[side].rssBytes,
      afterBytes: after[side].rssBytes,
      cpuPercent: ((later[side].cpuSeconds - after[side].cpuSeconds) / seconds) * 100,
    }));
    return { backend: backend.name, connectionCount, seconds, client, server };
  } finally {
    await pair.close();
  }
}

export function formatIdle({ backend, connectionCount, seconds, client, server }) {
  const side = (name, { beforeBytes, afterBytes, cpuPercent }) =>
    `  ${name}: ${(afterBytes / MIB).toFixed(0)} MiB, ${((afterBytes - beforeBytes) / MIB).toFixed(0)} MiB more than with one; ` +
    `${cpuPercent.toFixed(2)} % of a core`;
  return [
    "",
    `${connectionCount} idle connections, ${backend}, watched for ${seconds.toFixed(1)} s`,
    side("dialling side", client),
    side("accepting side", server),
  ];
}

/** Taking the figures costs CPU too: they are taken first, the time after. */
async function takeBoth(pair, options = { collect: true }) {
  const [client, server] = await Promise.all([
    pair.client.call("usage", options),
    pair.server.call("usage", options),
  ]);
  return { client, server, at: performance.now() };
}
