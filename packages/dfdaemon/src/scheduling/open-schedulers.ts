import { formatTarget, type Host } from "@damselfly/rpc";
import {
  serveScheduler,
  type SchedulerServer,
  type ServeSchedulerOptions,
} from "@damselfly/scheduler";
import type { Tls } from "@damselfly/transport";
import type { Config } from "../config/config.ts";
import { expectsDynconfig } from "../config/expects-dynconfig.ts";
import { formatPeerId } from "../identity/peer-id.ts";
import type { Logger } from "../logger.ts";
import { dynconfigFile } from "./dynconfig-file.ts";
import { openManagerSource, type ManagerSourceOptions } from "./manager-source.ts";
import { namedSchedulers, parseAddress } from "./resolve-schedulers.ts";
import { openSchedulerConnection, type SchedulerConnection } from "./scheduler-client.ts";
import type { SchedulerSource } from "./scheduler-source.ts";

export interface OpenSchedulersOptions {
  readonly host: ManagerSourceOptions["host"] & { readonly id: string };
  readonly describeHost: () => Promise<Host>;
  /** For what we dial. */
  readonly tls: Tls | undefined;
  /** For those who dial the embedded one, and for its calls to seeds. */
  readonly embedded: Pick<ServeSchedulerOptions, "tls" | "plainPeers" | "seeds" | "seedTls">;
  /** For the manager's. */
  readonly managerTls: Tls | undefined;
  /** Where an embedded scheduler that serves others listens. */
  readonly bindIp: string;
  readonly logger: Logger;
}

/** The schedulers this daemon asks, and the one it runs itself, if it does. */
export interface Schedulers extends AsyncDisposable {
  /** Undefined: the cluster has none, every task goes to its origin. */
  readonly connection: SchedulerConnection | undefined;
  readonly embedded: SchedulerServer | undefined;
}

type SchedulingConfig = Pick<Config, "scheduler" | "manager" | "dynconfig">;

/**
 * Connects to the schedulers that the config names, else to those of the manager, else to those of `dynconfig.yaml`; or starts an embedded
 * one (`scheduler.embedded`).
 *
 * @throws {DaemonError} `ERR_SCHEDULER` when an address cannot be understood
 * @throws {ServeError} when the embedded one cannot listen
 */
export async function openSchedulers(
  config: SchedulingConfig,
  options: OpenSchedulersOptions,
): Promise<Schedulers> {
  const { tls, logger } = options;
  const given = findSource(config, options);
  const embedded = await serveEmbedded(config.scheduler, given !== undefined, options);
  const source =
    embedded === undefined
      ? given
      : namedSchedulers("scheduler.addrs", [
          ...config.scheduler.addrs,
          formatTarget(dialAddress(embedded.address)),
        ]);
  const connection =
    source === undefined
      ? undefined
      : openSchedulerConnection({
          source,
          refreshIntervalMs: config.dynconfig.refreshInterval,
          ...(tls === undefined ? {} : { tls }),
          hostId: options.host.id,
          newPeerId: () => formatPeerId(options.host),
          describeHost: options.describeHost,
          announceIntervalMs: config.scheduler.announceInterval,
          logger,
        });
  return {
    connection,
    embedded,
    async [Symbol.asyncDispose]() {
      await connection?.[Symbol.asyncDispose]();
      await embedded?.[Symbol.asyncDispose]();
    },
  };
}

/** Who knows the schedulers; undefined: nobody was named. */
function findSource(
  { scheduler, manager, dynconfig }: SchedulingConfig,
  { host, managerTls, logger }: OpenSchedulersOptions,
): SchedulerSource | undefined {
  for (const address of scheduler.addrs) parseAddress(address);
  if (scheduler.addrs.length > 0) return namedSchedulers("scheduler.addrs", scheduler.addrs);
  // It runs the scheduler that the others are told of.
  if (scheduler.embedded === true) return undefined;
  if (manager.addr !== "") {
    const tls = managerTls === undefined ? {} : { tls: managerTls };
    return openManagerSource({ address: manager.addr, ...tls, host, logger });
  }
  return expectsDynconfig(dynconfig)
    ? dynconfigFile(dynconfig.path, { seed: host.seed, logger })
    : undefined;
}

async function serveEmbedded(
  config: Config["scheduler"],
  othersGiven: boolean,
  { embedded, bindIp, logger }: OpenSchedulersOptions,
): Promise<SchedulerServer | undefined> {
  if (config.embedded === false || (config.embedded === "auto" && othersGiven)) return undefined;
  const serveOthers = config.embedded === true;
  const address = serveOthers ? { ip: bindIp, port: config.port } : { ip: "127.0.0.1", port: 0 };
  const server = await serveScheduler({ ...embedded, address, logger });
  const where = `${server.address.ip}:${server.address.port}`;
  const fields = { scheduler: where };
  if (serveOthers) {
    logger.info(
      fields,
      `embedded scheduler at ${where}: give it to the other daemons as scheduler.addrs`,
    );
  } else {
    logger.warn(
      fields,
      `no scheduler given: an embedded one at ${where} serves this node alone; set scheduler.addrs, or scheduler.embedded: true to serve others`,
    );
  }
  return server;
}

/** Where we reach a server that listens there: a wildcard is reached on loopback. */
function dialAddress(address: { readonly ip: string; readonly port: number }): {
  ip: string;
  port: number;
} {
  const loopback: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return { ip: loopback[address.ip] ?? address.ip, port: address.port };
}
