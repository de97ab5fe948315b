import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Host } from "@damselfly/rpc";
import { serveScheduler, type SchedulerServer } from "@damselfly/scheduler";
import type { TlsIdentity } from "@damselfly/transport";
import type { Config } from "../config/config.ts";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { openSchedulerConnection, type SchedulerConnection } from "./scheduler-client.ts";

export interface OpenSchedulersOptions {
  readonly hostId: string;
  readonly describeHost: () => Promise<Host>;
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
  const addresses = await resolveAddresses(config.addrs);
  const embedded = await serveEmbedded(config, addresses.length > 0, options);
  if (embedded !== undefined) addresses.push(dialAddress(embedded.address));
  const connection =
    addresses.length === 0
      ? undefined
      : openSchedulerConnection({
          addresses,
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

async function resolveAddresses(texts: readonly string[]): Promise<{ ip: string; port: number }[]> {
  return await Promise.all(texts.map(resolveAddress));
}

async function resolveAddress(text: string): Promise<{ ip: string; port: number }> {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new DaemonError(
      "ERR_SCHEDULER",
      `Cannot use scheduler address '${text}': expected host:port`,
    );
  }
  if (isIP(host) !== 0) return { ip: host, port };
  try {
    return { ip: (await lookup(host)).address, port };
  } catch (error) {
    throw new DaemonError("ERR_SCHEDULER", `Cannot find scheduler '${text}': ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Where we reach a server that listens there: a wildcard is reached on loopback. */
function dialAddress(address: { readonly ip: string; readonly port: number }): {
  ip: string;
  port: number;
} {
  const loopback: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return { ip: loopback[address.ip] ?? address.ip, port: address.port };
}
