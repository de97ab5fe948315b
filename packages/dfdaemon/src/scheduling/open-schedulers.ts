import { formatTarget, type Host } from "@damselfly/rpc";
import { serveScheduler, type SchedulerServer } from "@damselfly/scheduler";
import type { TlsIdentity } from "@damselfly/transport";
import type { Config } from "../config/config.ts";
import type { Logger } from "../logger.ts";
import { namedSchedulers, parseAddress } from "./resolve-schedulers.ts";
import { openSchedulerConnection, type SchedulerConnection } from "./scheduler-client.ts";

export interface OpenSchedulersOptions {
  readonly hostId: string;
  readonly describeHost: () => Promise<Host>;
  /** How often it is looked which schedulers there are. Milliseconds. */
  readonly refreshIntervalMs: number;
  /** For the scheduler's connections, both ways. */
  readonly tls: TlsIdentity | undefined;
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

/**
 * Connects to the schedulers given, or starts an embedded one (`scheduler.embedded`).
 *
 * @throws {DaemonError} `ERR_SCHEDULER` when an address cannot be understood
 * @throws {ServeError} when the embedded one cannot listen
 */
export async function openSchedulers(
  config: Config["scheduler"],
  options: OpenSchedulersOptions,
): Promise<Schedulers> {
  const { tls, logger } = options;
  for (const address of config.addrs) parseAddress(address);
  const embedded = await serveEmbedded(config, config.addrs.length > 0, options);
  const addresses = [...config.addrs];
  if (embedded !== undefined) addresses.push(formatTarget(dialAddress(embedded.address)));
  const connection =
    addresses.length === 0
      ? undefined
      : openSchedulerConnection({
          source: namedSchedulers("scheduler.addrs", addresses),
          refreshIntervalMs: options.refreshIntervalMs,
          ...(tls === undefined ? {} : { tls }),
          hostId: options.hostId,
          describeHost: options.describeHost,
          announceIntervalMs: config.announceInterval,
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

async function serveEmbedded(
  config: Config["scheduler"],
  othersGiven: boolean,
  { tls, bindIp, logger }: OpenSchedulersOptions,
): Promise<SchedulerServer | undefined> {
  if (config.embedded === false || (config.embedded === "auto" && othersGiven)) return undefined;
  const serveOthers = config.embedded === true;
  const address = serveOthers ? { ip: bindIp, port: config.port } : { ip: "127.0.0.1", port: 0 };
  const server = await serveScheduler({
    address,
    tls,
    ...(tls === undefined ? {} : { seedTls: tls }),
    logger,
  });
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
