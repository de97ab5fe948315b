// Dragonfly's own programs, started as scripts/demo/cluster.mjs starts ours: its functions take and return the same.
import { once } from "node:events";
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join, sep } from "node:path";
import { spawnSync } from "node:child_process";
import { Child, childEnvironment } from "../../scripts/demo/child.mjs";

const LOOPBACK = "127.0.0.1";
const WAIT_MS = 30_000;
const PROGRAMS = {
  dfdaemon: ["dfdaemon"],
  dfget: ["dfget"],
  scheduler: ["dragonfly-scheduler", "scheduler"],
};

/**
 * Looks in DAMSELFLY_INTEROP_BIN, else in PATH.
 *
 * @returns paths by program, and what dfdaemon says of its version
 * @throws {Error} that says which is missing
 */
export function findTheirPrograms() {
  const directories = (process.env.DAMSELFLY_INTEROP_BIN ?? process.env.PATH ?? "")
    .split(delimiter)
    .filter((directory) => directory !== "" && !directory.includes(`${sep}node_modules${sep}`));
  const programs = {};
  for (const [program, names] of Object.entries(PROGRAMS)) {
    const paths = names.flatMap((name) => directories.map((directory) => join(directory, name)));
    programs[program] = paths.find(isExecutable);
    if (programs[program] === undefined)
      throw new Error(`Cannot find Dragonfly's ${names.join(" or ")}: docs/interop.md says more`);
  }
  const said = spawnSync(programs.dfdaemon, ["--version"], { encoding: "utf8" }).stdout ?? "";
  const [, version] = /^dfdaemon (\S+) \(/.exec(said) ?? [];
  if (version === undefined) throw new Error(`${programs.dfdaemon} is not Dragonfly's`);
  return { ...programs, version };
}

/** @returns its address and the process */
export async function startTheirScheduler(programs, { directory, ip = LOOPBACK, prefix = [] }) {
  const [port] = await takePorts(1);
  const home = join(directory, "their-scheduler");
  mkdirSync(home, { recursive: true });
  const config = join(home, "scheduler.yaml");
  const server = { advertiseIP: ip, advertisePort: port, listenIP: ip, port };
  const places = { logDir: join(home, "logs"), pluginDir: join(home, "plugins") };
  writeFileSync(config, JSON.stringify({ server: { ...server, ...places } }));
  const dynconfig = join(home, "dynconfig.yaml");
  const parameters = [`--config=${config}`, `--dynconfig=${dynconfig}`, "--console"];
  const command = [...prefix, programs.scheduler, ...parameters];
  const child = new Child("their scheduler", command, { env: childEnvironment() });
  await child.line(/started grpc server at/);
  return { child, address: `${ip}:${port}` };
}

/** Plain TCP, its default; everything else is its default, too. */
export async function startTheirDaemon(programs, options) {
  const { name, directory, scheduler, seed = false, ip = LOOPBACK, prefix = [] } = options;
  const home = join(directory, name);
  mkdirSync(home, { recursive: true });
  const [upload, tcpPort, quicPort, proxy, health, metrics, stats] = await takePorts(7);
  const socketPath = join(directory, `${name}.sock`);
  const at = (port) => ({ server: { ip, port } });
  const config = join(home, "dfdaemon.yaml");
  const document = {
    host: { hostname: name, ip },
    server: { pluginDir: join(home, "plugins"), cacheDir: join(home, "cache") },
    download: { server: { socketPath } },
    upload: at(upload),
    storage: { dir: join(home, "data"), keep: true, server: { ip, tcpPort, quicPort } },
    proxy: at(proxy),
    health: at(health),
    // Read from outside of the namespace that it may be in: over a socket there, see readTheirMetrics.
    metrics: at(metrics),
    stats: at(stats),
    ...(seed ? { seedPeer: { enable: true, type: "super" } } : {}),
  };
  writeFileSync(config, JSON.stringify(document));
  const dynconfig = join(home, "dynconfig.yaml");
  writeFileSync(dynconfig, JSON.stringify({ scheduler: { addrs: [scheduler.address] } }));
  const parameters = [
    `--config=${config}`,
    `--dynconfig=${dynconfig}`,
    `--log-dir=${join(home, "logs")}`,
    "--log-level=warn",
    "--console",
  ];
  const command = [...prefix, programs.dfdaemon, ...parameters];
  const child = new Child(`their ${name}`, command, { env: childEnvironment() });
  const metricsUrl = `http://${ip}:${metrics}/metrics`;
  await untilServing(child, { socketPath, url: metricsUrl, prefix });
  return { name, child, socketPath, prefix, hostId: `${ip}-${name}`, metricsUrl };
}

/** Dragonfly's `dfget` on one node. @returns as `download` of cluster.mjs, without events */
export function downloadTheirs(programs, node, { url, output }) {
  const startedAt = performance.now();
  const parameters = [url, "-O", output, "-e", node.socketPath, "--no-progress"];
  const command = [...node.prefix, programs.dfget, ...parameters];
  const child = new Child(`their dfget on ${node.name}`, command, { env: childEnvironment() });
  const finish = async () => {
    await child.success();
    return { seconds: (performance.now() - startedAt) / 1000 };
  };
  return { child, done: finish() };
}

async function untilServing(child, { socketPath, url, prefix }) {
  const deadline = Date.now() + WAIT_MS;
  let hasEnded = false;
  void child.ended.then(() => (hasEnded = true));
  while (!existsSync(socketPath) || readMetrics({ metricsUrl: url, prefix }) === undefined) {
    if (hasEnded || Date.now() > deadline) throw child.failure("does not get ready");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The text that a node's metrics server gives; undefined: nothing. In the node's own namespace. */
export function readMetrics({ metricsUrl, prefix = [] }) {
  const [program, ...parameters] = [...prefix, "curl", "-sf", "--noproxy", "*", metricsUrl];
  const { status, stdout } = spawnSync(program, parameters, { encoding: "utf8" });
  return status === 0 ? stdout : undefined;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Below what the system gives to outgoing connections; free on our own loopback, so most likely in a namespace, too. */
let nextPort = 10_240 + Math.floor(Math.random() * 15_000);

async function takePorts(count) {
  const ports = [];
  while (ports.length < count) {
    const server = createServer();
    nextPort += 1;
    try {
      server.listen(nextPort, LOOPBACK);
      await once(server, "listening");
      ports.push(nextPort);
      server.close();
    } catch {
      // taken
    }
  }
  return ports;
}
