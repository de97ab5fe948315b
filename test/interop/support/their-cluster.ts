import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  Cluster,
  LOOPBACK,
  sha256OfFile,
  type DaemonOptions,
  type RunningDaemon,
} from "../../support/daemon.ts";
import type { Child, Exit } from "../../support/child.ts";
import { accepts } from "../../support/accepts.ts";
import { eventually } from "../../support/eventually.ts";
import type { ForeignBinaries } from "./foreign-binaries.ts";
import { takeFreePorts } from "./free-ports.ts";

export interface TheirDaemonOptions {
  /** Its hostname; the storage of the last one of this name is used again, but not its ports: it could not have them for a minute. */
  readonly name: string;
  /** `ip:port` of the schedulers, for its dynconfig.yaml. */
  readonly schedulers: readonly string[];
  readonly seed?: boolean;
  /** What it fetches with: its own default is `tcp`. */
  readonly protocol?: "tcp" | "quic";
  /** Pieces of a task at once from the origin, 8 unless given. */
  readonly originPieceCount?: number;
}

/** Dragonfly's `dfdaemon`. */
export interface TheirDaemon {
  readonly name: string;
  readonly child: Child;
  readonly hostId: string;
  readonly socketPath: string;
  readonly storageDirectory: string;
  readonly uploadPort: number;
  /** Vortex over TCP. */
  readonly tcpPort: number;
  /** Bytes of pieces so far, by where they came from, as its metrics have them. */
  traffic(): Promise<{ readonly origin: number; readonly parents: number }>;
}

/** Dragonfly's scheduler, as ours is described. */
export interface TheirScheduler {
  readonly child: Child;
  readonly address: string;
  readonly port: number;
  /** Resolves when it asks those seeds to fetch that have announced themselves by now. */
  untilSeedsCount(): Promise<void>;
}

/** A daemon, whoever's. */
export type Member = Pick<RunningDaemon, "name" | "child" | "hostId" | "socketPath" | "uploadPort">;

export interface TheirDfgetResult {
  readonly exit: Exit;
  /** It says there why it failed. */
  readonly stdout: string;
  readonly output: string;
}

/**
 * Dragonfly's scheduler looks which seeds there are when it has run for 30 s, and every 30 s after that (scheduler/resource/standard/seed_peer.go);
 * it says nothing of it. And a little for the look itself, which is a health check.
 */
const SEED_REFRESH_MS = 32_000;

interface Ports {
  readonly upload: number;
  readonly tcp: number;
  readonly quic: number;
  readonly proxy: number;
  readonly health: number;
  readonly metrics: number;
  readonly stats: number;
}

/** A cluster whose members are ours or Dragonfly's. */
export class MixedCluster extends Cluster {
  readonly #binaries: ForeignBinaries | string;

  /** A sentence instead of the executables says why there are none: then it can be made, but not start them. */
  constructor(binaries: ForeignBinaries | string) {
    super();
    this.#binaries = binaries;
  }

  /** Ours, as it would be among Dragonfly's: with certificates it talks plain besides. */
  async startOurDaemon(options: DaemonOptions & { readonly name: string }): Promise<RunningDaemon> {
    const { tls = false, settings } = options;
    const mixed = tls ? { "security.plainPeers": true } : {};
    return await this.startDaemon({
      protocol: "auto",
      ...options,
      settings: { ...mixed, ...settings },
    });
  }

  /** Resolves when all of its servers listen. By then it has announced itself to its schedulers. */
  async startTheirDaemon(options: TheirDaemonOptions): Promise<TheirDaemon> {
    const { name, schedulers, seed = false } = options;
    const ports = await takePorts();
    const home = join(this.directory, `their-${name}`);
    const socketPath = join(this.directory, `their-${name}.sock`);
    const configPath = `${home}.yaml`;
    const dynconfigPath = `${home}-dynconfig.yaml`;
    await writeFile(configPath, JSON.stringify(daemonConfig(options, { home, socketPath, ports })));
    await writeFile(dynconfigPath, JSON.stringify({ scheduler: { addrs: schedulers } }));
    const child = this.run({
      name: `their ${name}`,
      command: this.#program("dfdaemon"),
      argv: [
        `--config=${configPath}`,
        `--dynconfig=${dynconfigPath}`,
        `--log-dir=${home}-logs`,
        "--console",
      ],
      logsToStdout: true,
    });
    await untilListening(child, [socketPath, ports.upload, ports.tcp, ports.metrics]);
    return {
      name,
      child,
      hostId: `${LOOPBACK}-${name}${seed ? "-seed" : ""}`,
      socketPath,
      storageDirectory: home,
      uploadPort: ports.upload,
      tcpPort: ports.tcp,
      traffic: () => trafficOf(ports.metrics),
    };
  }

  /** Resolves when it listens. `port` is for one that comes back where another was. */
  async startTheirScheduler(options: { readonly port?: number } = {}): Promise<TheirScheduler> {
    const port = options.port ?? (await takeFreePorts(1))[0]!;
    const home = this.path("their-scheduler");
    const config = {
      server: {
        advertiseIP: LOOPBACK,
        advertisePort: port,
        listenIP: LOOPBACK,
        port,
        logDir: `${home}-logs`,
        pluginDir: `${home}-plugins`,
      },
    };
    await writeFile(`${home}.yaml`, JSON.stringify(config));
    const child = this.run({
      name: "their scheduler",
      command: this.#program("scheduler"),
      argv: ["--config", `${home}.yaml`, "--dynconfig", `${home}-dynconfig.yaml`, "--console"],
      logsToStdout: true,
    });
    await untilListening(child, [port]);
    const countMs = Date.now() + SEED_REFRESH_MS;
    return {
      child,
      address: `${LOOPBACK}:${port}`,
      port,
      untilSeedsCount: () => sleep(Math.max(countMs - Date.now(), 0)),
    };
  }

  /** For servers that cannot pick a port themselves, or whose port is given to others before. */
  async takePorts(count: number): Promise<number[]> {
    return await takeFreePorts(count);
  }

  /** Runs Dragonfly's dfget against a daemon's socket, whoever's that is. */
  startTheirDfget(
    url: string,
    options: {
      readonly daemon: { readonly socketPath: string };
      readonly output?: string;
      readonly flags?: readonly string[];
    },
  ): {
    readonly child: Child;
    readonly output: string;
    readonly result: Promise<TheirDfgetResult>;
  } {
    const { daemon, output = this.path("their-output"), flags = [] } = options;
    const child = this.run({
      name: "their dfget",
      command: this.#program("dfget"),
      argv: [url, "-O", output, "-e", daemon.socketPath, "--no-progress", "--console", ...flags],
      logsToStdout: true,
    });
    const result = child.exited.then((exit) => ({ exit, stdout: child.stdout.toString(), output }));
    return { child, output, result };
  }

  /** Downloads with Dragonfly's dfget. @returns the output's SHA-256. @throws {Error} when it failed */
  async fetchTheirs(
    url: string,
    options: Parameters<MixedCluster["startTheirDfget"]>[1],
  ): Promise<string> {
    const { exit, stdout, output } = await this.startTheirDfget(url, options).result;
    if (exit.code !== 0) throw new Error(`their dfget ${url}: exit ${exit.code}\n${stdout}`);
    return await sha256OfFile(output);
  }

  #program(name: "dfdaemon" | "dfget" | "scheduler"): string {
    if (typeof this.#binaries === "string")
      throw new Error(`Cannot run Dragonfly's ${name}: ${this.#binaries}`);
    return this.#binaries[name];
  }
}

async function takePorts(): Promise<Ports> {
  const [upload = 0, tcp = 0, quic = 0, proxy = 0, health = 0, metrics = 0, stats = 0] =
    await takeFreePorts(7);
  return { upload, tcp, quic, proxy, health, metrics, stats };
}

/** As its dfdaemon.yaml; JSON is YAML. */
function daemonConfig(
  { name, seed = false, protocol, originPieceCount }: TheirDaemonOptions,
  place: { readonly home: string; readonly socketPath: string; readonly ports: Ports },
): object {
  const { home, socketPath, ports } = place;
  const server = (port: number): object => ({ server: { ip: LOOPBACK, port } });
  return {
    host: { hostname: name, ip: LOOPBACK },
    server: { pluginDir: `${home}-plugins`, cacheDir: `${home}-cache` },
    download: {
      server: { socketPath },
      ...(protocol === undefined ? {} : { protocol }),
      ...(originPieceCount === undefined
        ? {}
        : { backToSourceConcurrentPieceCount: originPieceCount }),
    },
    upload: server(ports.upload),
    dynconfig: { refreshInterval: "1s" },
    storage: {
      dir: home,
      keep: true,
      server: { ip: LOOPBACK, tcpPort: ports.tcp, quicPort: ports.quic },
    },
    proxy: server(ports.proxy),
    health: server(ports.health),
    metrics: server(ports.metrics),
    stats: server(ports.stats),
    ...(seed ? { seedPeer: { enable: true, type: "super" } } : {}),
  };
}

async function untilListening(child: Child, targets: readonly (string | number)[]): Promise<void> {
  for (const target of targets) {
    await eventually(`${child.name} at ${target}`, async () => {
      if (child.exit !== undefined) throw new Error(`it ended early\n${child.tail()}`);
      return (await accepts(target)) ? true : undefined;
    });
  }
}

async function trafficOf(metricsPort: number): Promise<{ origin: number; parents: number }> {
  const response = await fetch(`http://${LOOPBACK}:${metricsPort}/metrics`);
  const text = await response.text();
  const bytesOf = (type: string): number => {
    const line = new RegExp(`^dragonfly_client_download_traffic\\{type="${type}"\\} (\\S+)`, "m");
    return Number(line.exec(text)?.[1] ?? 0);
  };
  return { origin: bytesOf("BACK_TO_SOURCE"), parents: bytesOf("REMOTE_PEER") };
}
