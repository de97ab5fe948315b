import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { assertAnnouncement } from "@damselfly/scheduler/testing";
import { loadService, type AnnounceHostRequest__Output } from "@damselfly/rpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CgroupGauge } from "./cgroup-gauge.ts";
import { CpuGauge } from "./cpu-gauge.ts";
import { describeHost, HostFigures, type HostFacts } from "./describe-host.ts";
import { DiskGauge } from "./disk-gauge.ts";
import { findLinkSpeed } from "./link-speed.ts";
import { readMemory } from "./memory-figures.ts";
import { TrafficMeter } from "./traffic-meter.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "damselfly-host-"));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

const FACTS: HostFacts = {
  id: "10.0.0.1-node-seed",
  hostname: "node",
  name: "default-node-0",
  ip: "10.0.0.1",
  port: 4000,
  seed: true,
  idc: "dc",
  location: "",
  schedulerClusterId: 3,
  disableShared: true,
  storageDirectory: tmpdir(),
  maxRxBitsPerSecond: 25_000_000_000,
  maxTxBitsPerSecond: 10_000_000_000,
  version: "1.2.3",
};

describe("describeHost", () => {
  it("says who this host is and how it fares, in a message that Dragonfly's scheduler accepts", async () => {
    const host = await describeHost(FACTS, new TrafficMeter(), new HostFigures(tmpdir()));
    expect(host).toMatchObject({
      id: FACTS.id,
      type: 1,
      hostname: "node",
      name: "default-node-0",
      ip: "10.0.0.1",
      port: 4000,
      downloadPort: 4000,
      os: process.platform,
      platformFamily: "unix",
      build: { gitVersion: "1.2.3" },
      schedulerClusterId: 3,
      disableShared: true,
      network: { idc: "dc", maxRxBandwidth: 25_000_000_000, maxTxBandwidth: 10_000_000_000 },
    });
    expect(host.network).not.toHaveProperty("location");
    expect(host.cpu?.logicalCount).toBeGreaterThan(0);
    expect(host.memory?.total).toBeGreaterThan(host.memory?.available ?? Infinity);
    expect(host.disk?.total).toBeGreaterThan(0);
    const method = loadService("scheduler.v2.Scheduler").methods.get("announceHost")!;
    const sent = method.requestDeserialize(method.requestSerialize({ host }));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what the method's types say
    expect(() => assertAnnouncement(sent as AnnounceHostRequest__Output)).not.toThrow();
  });

  it("reads once for all who ask at the same time", async () => {
    const figures = new HostFigures(tmpdir());
    expect(await figures.read()).toBe(await figures.read());
  });

  it("says the system's version where it has one, else the kernel's", async () => {
    const version = async (): Promise<unknown> =>
      (await new HostFigures(root, { root }).read()).platformVersion;
    const kernel = await version();
    expect(kernel).toMatch(/^\d/);
    await write("etc/os-release", 'NAME="A System"\nVERSION_ID="22.04"\n');
    expect(await version()).toBe("22.04");
  });
});

describe("CpuGauge", () => {
  it("says how busy the processors were since the last reading", async () => {
    const gauge = new CpuGauge({ root });
    await write("proc/stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
    const first = await gauge.read();
    expect(first.times).toMatchObject({ user: 1, system: 1, idle: 7, iowait: 1, guest: 0.5 });
    await write("proc/stat", "cpu  150 10 120 760 110 0 10 10 50 0\n");
    // 50 + 10 + 20 + 10 + 10 busy of 170 ticks.
    expect((await gauge.read()).percent).toBeCloseTo((100 / 170) * 100);
  });

  it("counts cores, not threads", async () => {
    const cpu = (core: number, socket: number): string =>
      `processor\t: 0\nphysical id\t: ${socket}\ncore id\t\t: ${core}\n`;
    await write("proc/cpuinfo", [cpu(0, 0), cpu(0, 0), cpu(1, 0), cpu(0, 1)].join("\n"));
    expect((await new CpuGauge({ root }).read()).physicalCount).toBe(3);
  });

  it("makes do with what other systems tell", async () => {
    const { logicalCount, physicalCount, percent, processPercent } = await new CpuGauge({
      root,
    }).read();
    expect(physicalCount).toBe(logicalCount);
    for (const value of [percent, processPercent]) {
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThanOrEqual(100);
    }
  });
});

describe("readMemory", () => {
  it("reads what Linux tells, in bytes", async () => {
    await write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\n");
    expect(await readMemory(root)).toMatchObject({
      total: 1_024_000,
      free: 102_400,
      available: 256_000,
      used: 768_000,
      usedPercent: 75,
    });
  });

  it("makes do with what other systems tell", async () => {
    const { total = 0, available = 0 } = await readMemory(root);
    expect(total).toBeGreaterThan(available);
  });
});

describe("DiskGauge", () => {
  it("says how full the disk is and how fast this process uses disks", async () => {
    let nowMs = 1_000_000;
    const gauge = new DiskGauge(root, { now: () => nowMs });
    await gauge.read();
    nowMs += 1_000;
    const disk = await gauge.read();
    expect((disk.used ?? 0) + (disk.free ?? 0)).toBe(disk.total);
    expect(disk.readBandwidth).toBeGreaterThanOrEqual(0);
    expect(disk.writeBandwidth).toBeGreaterThanOrEqual(0);
  });
});

describe("CgroupGauge", () => {
  it("reads the limits of version 2, where the group's own files are", async () => {
    await write("proc/self/cgroup", "0::/kubepods/pod:1\n");
    const base = "sys/fs/cgroup/kubepods/pod:1";
    await write(`${base}/cpu.max`, "50000 100000\n");
    await write(`${base}/cpu.stat`, "usage_usec 1000000\nuser_usec 1\n");
    await write(`${base}/memory.max`, "1000\n");
    await write(`${base}/memory.current`, "250\n");
    let nowMs = 0;
    const gauge = new CgroupGauge({ root, now: () => nowMs });
    expect(await gauge.read()).toEqual({
      cpu: { period: 100_000, quota: 50_000, usedPercent: 0 },
      memory: { limit: 1_000, usage: 250, usedPercent: 25 },
    });
    nowMs = 1_000;
    await write(`${base}/cpu.stat`, "usage_usec 1250000\n");
    expect((await gauge.read()).cpu?.usedPercent).toBeCloseTo(50);
  });

  it("reads those of version 1, mounted at the root as in a container", async () => {
    await write("proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/docker/x\n");
    await write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    await write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    await write("sys/fs/cgroup/cpuacct/cpuacct.usage", "5000000\n");
    await write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
    await write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1024\n");
    expect(await new CgroupGauge({ root }).read()).toEqual({
      cpu: { period: 100_000, quota: 200_000, usedPercent: 0 },
      memory: { limit: 4_096, usage: 1_024, usedPercent: 25 },
    });
  });

  it("says nothing where no limit is set, and where there are no groups", async () => {
    expect(await new CgroupGauge({ root }).read()).toEqual({});
    await write("proc/self/cgroup", "4:memory:/\n3:cpu:/\n0::/\n");
    await write("sys/fs/cgroup/cpu.max", "max 100000\n");
    await write("sys/fs/cgroup/memory.max", "max\n");
    expect(await new CgroupGauge({ root }).read()).toEqual({});
    await write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    await rm(join(root, "sys/fs/cgroup/memory.max"));
    expect(await new CgroupGauge({ root }).read()).toEqual({});
  });
});

describe("findLinkSpeed", () => {
  it("reads the speed of the interface that has the address, and assumes 10 Gbit/s of others", async () => {
    const entries = Object.entries(networkInterfaces());
    const [name, addresses] = entries.find(([, all = []]) => all.length > 0) ?? ["", []];
    const ip = addresses?.[0]?.address ?? "";
    expect(await findLinkSpeed(ip, root)).toBe(10_000_000_000);
    await write(`sys/class/net/${name}/speed`, "25000\n");
    expect(await findLinkSpeed(ip, root)).toBe(25_000_000_000);
    await write(`sys/class/net/${name}/speed`, "-1\n");
    expect(await findLinkSpeed(ip, root)).toBe(10_000_000_000);
    expect(await findLinkSpeed("192.0.2.1", root)).toBe(10_000_000_000);
  });
});
