import { arch, platform, release } from "node:os";
import { join } from "node:path";
import type { Host } from "@damselfly/rpc";
import { CgroupGauge } from "./cgroup-gauge.ts";
import { CpuGauge } from "./cpu-gauge.ts";
import { DiskGauge } from "./disk-gauge.ts";
import { readMemory } from "./memory-figures.ts";
import { readSystemFile } from "./system-file.ts";
import type { TrafficMeter } from "./traffic-meter.ts";

/** Several schedulers that are told at once are told the same: means over less would say nothing. Milliseconds. */
const FRESH_MS = 1_000;

export interface HostFacts {
  readonly id: string;
  readonly hostname: string;
  /** What it is called in a cluster's tools: Kubernetes' name of it. */
  readonly name: string;
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
  /** What comes in at most, by the network interface and the settings, in bits a second; */
  readonly maxRxBitsPerSecond: number;
  /** what goes out. */
  readonly maxTxBitsPerSecond: number;
  readonly version: string;
}

/**
 * Reads what AnnounceHost says of this host besides who it is. A handful of files of the kernel, read within milliseconds: the library for it
 * (`systeminformation`) takes 0.1 s to load and starts a hundred programs for as much.
 */
export class HostFigures {
  readonly #cpu: CpuGauge;
  readonly #disk: DiskGauge;
  readonly #cgroup: CgroupGauge;
  readonly #root: string;
  #reading: { readonly atMs: number; readonly figures: Promise<Figures> } | undefined;

  /** @param options.root - where `proc`, `sys` and `etc` are */
  constructor(storageDirectory: string, options: { readonly root?: string } = {}) {
    this.#root = options.root ?? "/";
    this.#cpu = new CpuGauge({ root: this.#root });
    this.#cgroup = new CgroupGauge({ root: this.#root });
    this.#disk = new DiskGauge(storageDirectory);
  }

  /** @throws {Error} when the storage directory is gone */
  async read(): Promise<Figures> {
    const atMs = performance.now();
    if (this.#reading === undefined || atMs - this.#reading.atMs > FRESH_MS)
      this.#reading = { atMs, figures: this.#read() };
    return await this.#reading.figures;
  }

  async #read(): Promise<Figures> {
    const [cpu, memory, disk, cgroup, osRelease] = await Promise.all([
      this.#cpu.read(),
      readMemory(this.#root),
      this.#disk.read(),
      this.#cgroup.read(),
      readSystemFile(join(this.#root, "etc/os-release")),
    ]);
    return {
      cpu: { ...cpu, ...(cgroup.cpu === undefined ? {} : { cgroup: cgroup.cpu }) },
      memory: { ...memory, ...(cgroup.memory === undefined ? {} : { cgroup: cgroup.memory }) },
      disk,
      // os-release(5); systems that roll on have no version.
      platformVersion: /^VERSION_ID="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? release(),
    };
  }
}

type Figures = Pick<Host, "cpu" | "memory" | "disk" | "platformVersion">;

/** This host as it is at this moment, in the words of AnnounceHost. */
export async function describeHost(
  facts: HostFacts,
  meter: TrafficMeter,
  figures: HostFigures,
): Promise<Host> {
  return {
    id: facts.id,
    type: facts.seed ? 1 : 0,
    hostname: facts.hostname,
    name: facts.name,
    ip: facts.ip,
    port: facts.port,
    downloadPort: facts.port,
    os: platform(),
    platform: platform(),
    platformFamily: platform() === "win32" ? "windows" : "unix",
    kernelVersion: release(),
    ...(await figures.read()),
    network: describeNetwork(facts, meter),
    build: { gitVersion: facts.version, platform: `${platform()}/${arch()}` },
    schedulerClusterId: facts.schedulerClusterId,
    disableShared: facts.disableShared,
  };
}

/** What SyncHost reports once a second. */
export function describeNetwork(
  facts: Pick<HostFacts, "idc" | "location" | "maxRxBitsPerSecond" | "maxTxBitsPerSecond">,
  meter: TrafficMeter,
): NonNullable<Host["network"]> {
  const { rxBitsPerSecond, txBitsPerSecond } = meter.rates();
  return {
    ...(facts.idc === "" ? {} : { idc: facts.idc }),
    ...(facts.location === "" ? {} : { location: facts.location }),
    maxRxBandwidth: facts.maxRxBitsPerSecond,
    rxBandwidth: rxBitsPerSecond,
    maxTxBandwidth: facts.maxTxBitsPerSecond,
    txBandwidth: txBitsPerSecond,
  };
}
