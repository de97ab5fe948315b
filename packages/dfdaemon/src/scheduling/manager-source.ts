import { isIP } from "node:net";
import {
  createManagerClient,
  formatTarget,
  type ListSchedulersRequest,
  type ListSchedulersResponse__Output,
  type ManagerClient,
  type Scheduler__Output,
} from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { parseBlockList, type BlockList } from "./block-list.ts";
import { lookUpAll, resolveHost, type LookUp } from "./resolve-schedulers.ts";
import type { KnownScheduler, SchedulerListing, SchedulerSource } from "./scheduler-source.ts";

/** To ask a manager, the dial included. Milliseconds. */
const CALL_MS = 5_000;
/** More than a cluster has; what a manager says beyond that is not looked at. */
const SCHEDULERS_MAX = 1_000;

export interface ManagerSourceOptions {
  /** `http://host:65003`; the scheme may be left out, and says nothing: TLS is a matter of certificates. */
  readonly address: string;
  readonly tls?: Tls;
  /** Who asks: the manager chooses a cluster by it. */
  readonly host: {
    readonly hostname: string;
    readonly ip: string;
    readonly seed: boolean;
    readonly idc: string;
    readonly location: string;
    readonly schedulerClusterId: number;
    readonly version: string;
  };
  readonly logger: Logger;
  readonly lookUp?: LookUp;
}

/**
 * Schedulers that a Dragonfly manager names.
 *
 * Source: dragonflyoss/client 1.5.10, dynconfig/remote.rs.
 *
 * @throws {DaemonError} `ERR_SCHEDULER` if the address cannot be understood
 */
export function openManagerSource(options: ManagerSourceOptions): SchedulerSource {
  return new ManagerSource(options);
}

class ManagerSource implements SchedulerSource {
  readonly name = "manager.addr";
  readonly #options: ManagerSourceOptions;
  readonly #address: { readonly host: string; readonly port: number };
  #client: ManagerClient | undefined;

  constructor(options: ManagerSourceOptions) {
    this.#options = options;
    this.#address = parseManagerAddress(options.address);
  }

  async list(signal: AbortSignal): Promise<SchedulerListing> {
    const { schedulers } = await this.#ask(signal);
    const { host, logger } = this.#options;
    const known = schedulers.slice(0, SCHEDULERS_MAX).flatMap(decodeScheduler);
    const blockLists = new Map<number, BlockList>();
    for (const { schedulerCluster, schedulerClusterId } of schedulers.slice(0, SCHEDULERS_MAX)) {
      if (schedulerCluster === null || blockLists.has(schedulerClusterId)) continue;
      const { clientConfig, seedClientConfig } = schedulerCluster;
      const complain = (problem: string): void =>
        logger.warn({ cluster: schedulerCluster.name }, problem);
      const config = parseJson(host.seed ? seedClientConfig : clientConfig, complain);
      blockLists.set(schedulerClusterId, await parseBlockList(config, complain));
    }
    return { schedulers: known, blockLists };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.[Symbol.asyncDispose]();
    this.#client = undefined;
  }

  async #ask(signal: AbortSignal): Promise<ListSchedulersResponse__Output> {
    const request = encodeRequest(this.#options.host);
    if (this.#client !== undefined) {
      try {
        return await this.#client.listSchedulers(request, { timeoutMs: CALL_MS, signal });
      } catch {
        // It may be at another address by now.
        signal.throwIfAborted();
        await this[Symbol.asyncDispose]();
      }
    }
    const { host, port } = this.#address;
    let failure: unknown;
    for (const ip of await resolveHost(host, this.#options.lookUp ?? lookUpAll)) {
      const client = this.#dial({ ip, port });
      try {
        const response = await client.listSchedulers(request, { timeoutMs: CALL_MS, signal });
        this.#client = client;
        return response;
      } catch (error) {
        await client[Symbol.asyncDispose]();
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw new DaemonError("ERR_SCHEDULER", `Cannot ask the manager: ${messageOf(failure)}`, {
      cause: failure,
    });
  }

  #dial(target: { readonly ip: string; readonly port: number }): ManagerClient {
    const { tls } = this.#options;
    const { host } = this.#address;
    if (tls === undefined) return createManagerClient(target);
    return createManagerClient(target, {
      tls,
      ...(isIP(host) === 0 ? { expectedHostname: host } : {}),
    });
  }
}

/** @throws {DaemonError} `ERR_SCHEDULER` */
function parseManagerAddress(text: string): { readonly host: string; readonly port: number } {
  const url = text.includes("://") ? text : `http://${text}`;
  if (/^https?:/.test(url) && URL.canParse(url)) {
    const { hostname, protocol, port } = new URL(url);
    const host = hostname.replaceAll(/[[\]]/g, "");
    const defaultPort = protocol === "https:" ? 443 : 80;
    if (host !== "") return { host, port: port === "" ? defaultPort : Number(port) };
  }
  throw new DaemonError(
    "ERR_SCHEDULER",
    `Cannot use manager.addr '${text}': expected an address such as http://10.0.0.1:65003`,
  );
}

function encodeRequest(host: ManagerSourceOptions["host"]): ListSchedulersRequest {
  return {
    sourceType: host.seed ? "SEED_PEER_SOURCE" : "PEER_SOURCE",
    hostname: host.hostname,
    ip: host.ip,
    ...(host.idc === "" ? {} : { idc: host.idc }),
    ...(host.location === "" ? {} : { location: host.location }),
    version: host.version,
    schedulerClusterId: host.schedulerClusterId,
  };
}

function decodeScheduler(scheduler: Scheduler__Output): KnownScheduler[] {
  const { hostname, ip, port, id, schedulerClusterId: clusterId } = scheduler;
  if (isIP(ip) === 0 || port < 1 || port > 65_535) return [];
  return [{ name: hostname || formatTarget({ ip, port }), ip, port, id, clusterId }];
}

function parseJson(bytes: Uint8Array, complain: (problem: string) => void): unknown {
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    complain(`Cannot read the client configuration of the cluster: ${messageOf(error)}`);
    return {};
  }
}
