// A cluster of a run, and what it stands on: network, disks, certificates, origin, scheduler, daemons.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { executable } from "../../../scripts/demo/child.mjs";
import { issueCertificates } from "../../../scripts/demo/cluster.mjs";
import { openNetwork } from "../network/network.mjs";
import { openOrigin } from "../origin/origin.mjs";
import { LIAR, ORIGIN, SCHEDULER, SEED } from "../schedule/topology.mjs";
import { openDisks } from "./disks.mjs";
import { Server } from "./server.mjs";
import {
  SCHEDULER_PORT,
  socketPathOf,
  storageOf,
  writeDaemonSettings,
  writeSchedulerSettings,
} from "./write-settings.mjs";

/** What a node's disk holds: all files that are alive at a time, what users keep of them, and some room. Bytes. */
const DISK_LENGTH = 1200 * 2 ** 20;

/**
 * Resolves when everybody answers.
 *
 * @param {{ directory: string, logs: string, nodes: string[], start: number, network?: string, run: string, slowness: Function }} options
 * @returns `{ network, disks, certificates, scheduler, schedulerAddress, nodes, servers, origin, logOf(name), close() }`; `nodes` by name
 *   `{ name, server, disk, storage, socketPath }`, `servers` also with the scheduler
 */
export async function openCluster({
  directory,
  logs,
  nodes: names,
  start,
  network: kind,
  run,
  slowness,
}) {
  const places = [...names, SCHEDULER, ORIGIN, LIAR];
  const network = await openNetwork({ kind, names: places, directory, start });
  const disks = openDisks({
    directory: join(directory, "disks"),
    names,
    lengthMax: DISK_LENGTH,
  });
  const certificates = join(directory, "certificates");
  const ips = [...network.places.values()].map(({ ip }) => ip);
  await issueCertificates(certificates, [...names, SCHEDULER, LIAR], ips);
  const settings = join(directory, "settings");
  mkdirSync(settings, { recursive: true });
  const logOf = (name) => {
    const path = join(logs, `${name}.log`);
    writeFileSync(path, "", { flag: "a" });
    return path;
  };

  const schedulerPlace = network.places.get(SCHEDULER);
  const common = { run, slowness };
  const scheduler = new Server({
    ...common,
    name: SCHEDULER,
    command: [
      ...schedulerPlace.prefix,
      ...executable("dfscheduler"),
      "--config",
      writeSchedulerSettings({ directory: settings, certificates, place: schedulerPlace }),
    ],
    log: logOf(SCHEDULER),
    readyLine: /^dfscheduler is ready/m,
  });
  const openNode = (name) => {
    const place = network.places.get(name);
    const disk = disks.pathOf(name);
    const path = writeDaemonSettings({
      name,
      directory: settings,
      disk,
      certificates,
      place,
      scheduler: schedulerPlace,
      isSeed: name === SEED,
    });
    const socketPath = socketPathOf(settings, name);
    const command = [...place.prefix, ...executable("dfdaemon"), "--config", path];
    const server = new Server({ ...common, name, command, log: logOf(name), socketPath });
    return { name, server, disk, storage: storageOf(disk), socketPath };
  };
  const nodes = new Map(names.map((name) => [name, openNode(name)]));
  const servers = new Map([
    [SCHEDULER, scheduler],
    ...[...nodes].map(([name, { server }]) => [name, server]),
  ]);

  const origin = await openOrigin({
    start,
    run,
    place: network.places.get(ORIGIN),
    log: logOf(ORIGIN),
  });
  await Promise.all([...servers.values()].map((server) => server.start()));
  const dead = [...servers.values()].filter(({ isUp }) => !isUp);
  if (dead.length > 0)
    throw new Error(
      `Cannot begin: ${dead.map(({ name, log }) => `${name} (${log})`).join(", ")} did not start`,
    );
  return {
    network,
    disks,
    certificates,
    scheduler,
    nodes,
    servers,
    origin,
    logOf,
    schedulerAddress: `${schedulerPlace.ip}:${SCHEDULER_PORT}`,
    async close() {
      origin.process.killGroup("SIGKILL");
      await origin.process.ended;
      await network.close();
    },
  };
}
