import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { formatTarget } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import { toError } from "../to-error.ts";
import type { KnownScheduler, SchedulerSource } from "./scheduler-source.ts";

/** Every address of a name: `dns.lookup` with `all`. */
export type LookUp = (
  hostname: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/** As the system does it. */
export const lookUpAll: LookUp = (hostname) => lookup(hostname, { all: true });

/** Schedulers by their addresses, `host:port` each; names are looked up anew each time. */
export function namedSchedulers(
  name: string,
  addresses: readonly string[],
  lookUp?: LookUp,
): SchedulerSource {
  return {
    name,
    list: async () => ({ schedulers: await resolveSchedulers(addresses, lookUp) }),
    async [Symbol.asyncDispose]() {},
  };
}

/**
 * All addresses of every name: the IPv4 ones, or if there are none the IPv6 ones, as Dragonfly's daemons take them. A name that cannot be
 * looked up is left out as long as there is anybody else.
 *
 * @throws {DaemonError} `ERR_SCHEDULER` if a text is no address, or none of the names can be looked up
 */
export async function resolveSchedulers(
  addresses: readonly string[],
  lookUp: LookUp = lookUpAll,
): Promise<KnownScheduler[]> {
  const parsed = addresses.map(parseAddress);
  const settled = await Promise.allSettled(
    parsed.map(async ({ host, port }) =>
      (await resolveHost(host, lookUp)).map((ip) => ({ ip, port })),
    ),
  );
  const found = new Map<string, KnownScheduler>();
  let failure: unknown;
  for (const result of settled) {
    if (result.status === "rejected") failure = result.reason;
    else
      for (const target of result.value) {
        const name = formatTarget(target);
        found.set(name, { ...target, name, id: 0, clusterId: 0 });
      }
  }
  if (found.size === 0 && failure !== undefined) throw toError(failure);
  return [...found.values()];
}

/** @throws {DaemonError} `ERR_SCHEDULER` */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  const bracketed = match?.[1] !== undefined;
  if (host !== undefined && port >= 1 && port <= 65_535 && (!bracketed || isIP(host) === 6))
    return { host, port };
  throw new DaemonError("ERR_SCHEDULER", `Cannot use scheduler '${text}': expected host:port`);
}

/** @throws {DaemonError} `ERR_SCHEDULER` */
export async function resolveHost(host: string, lookUp: LookUp): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const found = await lookUp(host);
    const v4 = found.filter(({ family }) => family === 4);
    return (v4.length > 0 ? v4 : found).map(({ address }) => address);
  } catch (error) {
    throw new DaemonError("ERR_SCHEDULER", `Cannot find scheduler '${host}': ${messageOf(error)}`, {
      cause: error,
    });
  }
}
