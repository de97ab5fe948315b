// Settings of the daemons and the scheduler of a run.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** As in production: a node that comes back is where it was. */
export const SCHEDULER_PORT = 8002;

/** @param place - of the network, see network.mjs */
export function writeSchedulerSettings({ directory, certificates, place: { ip } }) {
  return write(directory, "scheduler", {
    server: { listenIP: ip, port: SCHEDULER_PORT, advertiseIP: ip },
    security: securityOf("scheduler", certificates),
  });
}

/**
 * Everything as it is by default, but for where things are.
 *
 * @returns the path of the file
 */
export function writeDaemonSettings({
  name,
  directory,
  disk,
  certificates,
  place,
  scheduler,
  isSeed,
}) {
  const { ip, manageIp } = place;
  return write(directory, name, {
    host: { hostname: name, ip },
    download: { server: { socketPath: socketPathOf(directory, name) } },
    upload: { server: { ip } },
    health: { server: { ip: manageIp } },
    metrics: { server: { ip: manageIp } },
    stats: { server: { ip: manageIp } },
    storage: { dir: storageOf(disk), server: { ip } },
    scheduler: { addrs: [`${scheduler.ip}:${SCHEDULER_PORT}`] },
    seedPeer: { enable: isSeed },
    security: securityOf(name, certificates),
  });
}

export function socketPathOf(directory, name) {
  return join(directory, `${name}.sock`);
}

export function storageOf(disk) {
  return join(disk, "store");
}

function securityOf(name, certificates) {
  return {
    caCert: join(certificates, "ca.pem"),
    cert: join(certificates, `${name}.pem`),
    key: join(certificates, `${name}-key.pem`),
  };
}

/** Every JSON file is a YAML file. */
function write(directory, name, settings) {
  const path = join(directory, `${name}.yaml`);
  writeFileSync(path, JSON.stringify(settings, undefined, 2));
  return path;
}
