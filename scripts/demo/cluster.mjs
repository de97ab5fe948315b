// A small cluster on this machine: certificates, a scheduler, daemons, downloads. Used by `demo.mjs` and `npm run bench`.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Child, childEnvironment, executable } from "./child.mjs";

const LOOPBACK = "127.0.0.1";

/** An authority and a certificate for each name, in `directory`; all of them for each of `ips`. */
export async function issueCertificates(directory, names, ips = [LOOPBACK]) {
  await certs(["init", "--dir", directory]);
  const addresses = ips.flatMap((ip) => ["--ip", ip]);
  const issue = (name) => certs(["issue", "--dir", directory, "--hostname", name, ...addresses]);
  await Promise.all(names.map(issue));
}

/**
 * @param {{ directory: string, certificates?: string, ip?: string, prefix?: string[] }} options - `directory` is made; without
 *   `certificates` everything is plain; `prefix` is a command line that runs the program, in a network namespace say
 * @returns its address and the process
 */
export async function startScheduler({ directory, certificates, ip = LOOPBACK, prefix }) {
  const config = writeConfig(directory, "scheduler", {
    server: { listenIP: ip, port: 0, advertiseIP: ip },
    security: securityOf("scheduler", certificates, ip),
  });
  const child = start("scheduler", "dfscheduler", ["--config", config], prefix);
  const [, address] = await child.line(/^dfscheduler is ready at (\S+)/);
  return { child, address };
}

/**
 * Starts a daemon named `name`, with everything it keeps below `directory`; without `scheduler` it has none. `server` goes into the
 * section `storage.server`, `sections` beside the others; `ip` and `prefix` are those of `startScheduler`; `root` is another checkout to run.
 */
export async function startDaemon({
  name,
  directory,
  certificates,
  protocol,
  scheduler,
  seed = false,
  ip = LOOPBACK,
  prefix,
  server = {},
  sections = {},
  root,
}) {
  const socketPath = join(directory, `${name}.sock`);
  const metricsPort = await findFreePort();
  const healthPort = await findFreePort();
  const anywhere = { ip, port: 0 };
  const config = writeConfig(directory, name, {
    host: { hostname: name, ip },
    download: { server: { socketPath } },
    upload: { server: anywhere },
    health: { server: { ip: LOOPBACK, port: healthPort } },
    stats: { server: anywhere },
    metrics: { server: { ip: LOOPBACK, port: metricsPort } },
    storage: {
      dir: join(directory, name),
      server: {
        ...server,
        ip,
        protocol,
        grpcPort: 0,
        tcpPort: 0,
        quic: { ...server.quic, port: 0, quinnPort: 0 },
      },
    },
    scheduler:
      scheduler === undefined ? { embedded: true, port: 0 } : { addrs: [scheduler.address] },
    seedPeer: { enable: seed },
    security: securityOf(name, certificates, ip),
    ...sections,
  });
  const command = [...(prefix ?? []), ...executable("dfdaemon", root)];
  const child = new Child(name, [...command, "--config", config, "--console"], {
    env: childEnvironment(),
  });
  let fallbackCount = 0;
  const ineffective = [];
  child.onLine((line) => {
    if (/does not get through/.test(line)) fallbackCount += 1;
    if (!/no known key|(?:has|have) no effect/.test(line)) return;
    ineffective.push(...(line.match(/\bstorage\.server\.[\w.]+/g) ?? []));
  });
  const [ready] = await child.line(/ready: ask at .*/);
  return {
    name,
    child,
    socketPath,
    /** On the loopback. */
    healthPort,
    prefix,
    hostId: `${ip}-${name}`,
    /** Settings of `server` that this daemon does not heed. */
    ineffective,
    /** What the daemon itself says it serves pieces over. */
    protocols: ["quic", "grpc"].filter((candidate) => ready.includes(`"${candidate}:`)),
    /** How often another protocol than the chosen one had to be taken. */
    fallbackCount: () => fallbackCount,
    metrics: () => readMetrics(metricsPort),
  };
}

/**
 * `dfget` on one node. `onEvent` gets what it prints with `--json`.
 *
 * @returns the process, and `done`: its last event, with the seconds from the start of the process to its end
 * @throws {ChildError} through `done`
 */
export function download(node, { url, output, onEvent = () => {} }) {
  const startedAt = performance.now();
  const args = [url, "-O", output, "-e", node.socketPath, "--json"];
  const child = start(`dfget on ${node.name}`, "dfget", args, node.prefix);
  let last;
  child.onLine((line, source) => {
    if (source !== "stdout" || !line.startsWith("{")) return;
    last = JSON.parse(line);
    onEvent(last);
  });
  const finish = async () => {
    const code = await child.ended;
    const seconds = (performance.now() - startedAt) / 1000;
    if (code === 0 && last?.event === "done") return { ...last, seconds };
    throw last?.event === "error"
      ? node.child.failure(`failed: ${last.message}`)
      : child.failure(`ended with ${code ?? "a signal"}`);
  };
  return { child, done: finish() };
}

async function certs(args) {
  await start("dfdaemon certs", "dfdaemon", ["certs", ...args]).success();
}

function start(name, program, args, prefix = []) {
  const command = [...prefix, ...executable(program), ...args];
  return new Child(name, command, { env: childEnvironment() });
}

function securityOf(name, certificates, ip) {
  if (certificates === undefined) return ip === LOOPBACK ? {} : { insecure: true };
  return {
    caCert: join(certificates, "ca.pem"),
    cert: join(certificates, `${name}.pem`),
    key: join(certificates, `${name}-key.pem`),
  };
}

/** Every JSON file is a YAML file. */
function writeConfig(directory, name, config) {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${name}.yaml`);
  writeFileSync(path, JSON.stringify(config, undefined, 2));
  return path;
}

/** Bytes that a daemon has taken in and given out, and the seconds that its downloads have lasted, by its own count. */
async function readMetrics(port) {
  const response = await fetch(`http://${LOOPBACK}:${port}/metrics`);
  const text = await response.text();
  const series = [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(
    ([, name, labels = "", value]) => ({ name, labels, value: Number(value) }),
  );
  /** Of all series of that name that have the label. */
  const sum = (name, label = "") =>
    series
      .filter((one) => one.name === name && one.labels.includes(label))
      .reduce((total, one) => total + one.value, 0);
  return {
    fromOrigin: sum("dragonfly_client_download_traffic", 'type="BACK_TO_SOURCE"'),
    fromParents: sum("dragonfly_client_download_traffic", 'type="REMOTE_PEER"'),
    uploaded: sum("dragonfly_client_upload_traffic"),
    taskSeconds: sum("dragonfly_client_download_task_duration_milliseconds_sum") / 1000,
    running: sum("dragonfly_client_concurrent_download_task_total"),
    /** Bytes of pieces from other nodes, by protocol. */
    received: new Map(
      ["tcp", "quic", "grpc"].map((protocol) => [
        protocol,
        sum("damselfly_transport_received_bytes_total", `protocol="${protocol}"`),
      ]),
    ),
  };
}

/** Below those that kernels give to whoever asks for any port: a daemon takes a second or two to start, and others do so meanwhile. */
const FIRST_PORT = 10_000;
const PORT_COUNT = 22_000;
const givenPorts = new Set();

/** For servers whose ports nobody tells. */
async function findFreePort() {
  for (;;) {
    const port = FIRST_PORT + randomInt(PORT_COUNT);
    if (!givenPorts.has(port) && (await isFree(port))) {
      givenPorts.add(port);
      return port;
    }
  }
}

async function isFree(port) {
  const server = createServer().listen(port, LOOPBACK);
  try {
    await once(server, "listening");
  } catch {
    return false; // Somebody is serving there, or we may not.
  }
  server.close();
  await once(server, "close");
  return true;
}
