import { statfs } from "node:fs/promises";
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import type { Host } from "@damselfly/rpc";
import type { TrafficMeter } from "./traffic-meter.ts";

/** Assumed of a network interface nobody has measured: 10 Gbit/s, as Dragonfly does. */
const BANDWIDTH_MAX_BITS_PER_SECOND = 10_000_000_000;

export interface HostFacts {
  readonly id: string;
  readonly hostname: string;
  /** Where others reach us. */
  readonly ip: string;
  /** Of DfdaemonUpload. */
  readonly port: number;
  readonly seed: boolean;
  readonly idc: string;
  readonly location: string;
  readonly schedulerClusterId: number;
  /** Serves nobody. */
  readonly disableShared: boolean;
  readonly storageDirectory: string;
  readonly version: string;
}

/** This host as it is at this moment, in the words of AnnounceHost. */
export async function describeHost(facts: HostFacts, meter: TrafficMeter): Promise<Host> {
  const disk = await statfs(facts.storageDirectory);
  const total = disk.blocks * disk.bsize;
  const free = disk.bavail * disk.bsize;
  const memory = { total: totalmem(), free: freemem() };
  const used = memory.total - memory.free;
  return {
    id: facts.id,
    type: facts.seed ? 1 : 0,
    hostname: facts.hostname,
    name: facts.hostname,
    ip: facts.ip,
    port: facts.port,
    downloadPort: facts.port,
    os: platform(),
    platform: platform(),
    platformFamily: platform(),
    platformVersion: release(),
    kernelVersion: release(),
    cpu: { logicalCount: availableParallelism(), physicalCount: cpus().length },
    memory: {
      total: memory.total,
      available: memory.free,
      free: memory.free,
      used,
      usedPercent: percent(used, memory.total),
    },
    network: describeNetwork(facts, meter),
    disk: { total, free, used: total - free, usedPercent: percent(total - free, total) },
    build: { gitVersion: facts.version, platform: `${platform()}/${arch()}` },
    schedulerClusterId: facts.schedulerClusterId,
    disableShared: facts.disableShared,
  };
}

/** What SyncHost reports once a second. */
export function describeNetwork(
  facts: Pick<HostFacts, "idc" | "location">,
  meter: TrafficMeter,
): NonNullable<Host["network"]> {
  const { rxBitsPerSecond, txBitsPerSecond } = meter.rates();
  return {
    ...(facts.idc === "" ? {} : { idc: facts.idc }),
    ...(facts.location === "" ? {} : { location: facts.location }),
    maxRxBandwidth: BANDWIDTH_MAX_BITS_PER_SECOND,
    rxBandwidth: rxBitsPerSecond,
    maxTxBandwidth: BANDWIDTH_MAX_BITS_PER_SECOND,
    txBandwidth: txBitsPerSecond,
  };
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.min(100, Math.max(0, (part / whole) * 100));
}
