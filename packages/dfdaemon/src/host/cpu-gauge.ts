import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import type { Host } from "@damselfly/rpc";
import { percent, readSystemFile } from "./system-file.ts";

type Cpu = NonNullable<Host["cpu"]>;

/** What Linux counts time in, as user programs see it, whatever the kernel was built with. Per second. */
const TICKS_PER_SECOND = 100;

/** How busy the processors are: the means since the last reading, at the first since the system's last minute and the process's start. */
export class CpuGauge {
  readonly #root: string;
  readonly #now: () => number;
  #last: { readonly busy: number; readonly total: number } | undefined;
  #lastProcess = { cpuMs: 0, atMs: 0 };
  #physicalCount: number | undefined;

  /** @param options.root - where `proc` is */
  constructor(options: { readonly root?: string; readonly now?: () => number } = {}) {
    this.#root = options.root ?? "/";
    // Since the process began.
    this.#now = options.now ?? (() => performance.now());
  }

  async read(): Promise<Cpu> {
    const logicalCount = availableParallelism();
    const times = parseTimes(await readSystemFile(join(this.#root, "proc/stat")));
    this.#physicalCount ??= countCores(await readSystemFile(join(this.#root, "proc/cpuinfo")));
    return {
      logicalCount,
      physicalCount: this.#physicalCount || logicalCount,
      percent: this.#systemPercent(times) ?? percent(loadavg()[0]!, logicalCount),
      processPercent: this.#processPercent(logicalCount),
      ...(times === undefined ? {} : { times }),
    };
  }

  #systemPercent(times: Times | undefined): number | undefined {
    if (times === undefined) return undefined;
    // Guests' time is in user and nice, too.
    const { idle, iowait, user, nice, system, irq, softirq, steal } = times;
    const busy = user + nice + system + irq + softirq + steal;
    const now = { busy, total: busy + idle + iowait };
    const last = this.#last;
    this.#last = now;
    return last === undefined ? undefined : percent(now.busy - last.busy, now.total - last.total);
  }

  #processPercent(logicalCount: number): number {
    const { user, system } = process.cpuUsage();
    const now = { cpuMs: (user + system) / 1000, atMs: this.#now() };
    const last = this.#lastProcess;
    this.#lastProcess = now;
    return percent(now.cpuMs - last.cpuMs, (now.atMs - last.atMs) * logicalCount);
  }
}

/** Seconds since the system began, by what they were spent on; the names are common.v2's. */
interface Times {
  readonly user: number;
  readonly nice: number;
  readonly system: number;
  readonly idle: number;
  readonly iowait: number;
  readonly irq: number;
  readonly softirq: number;
  readonly steal: number;
  readonly guest: number;
  readonly guestNice: number;
}

/** The first line of proc/stat (proc_stat(5)). */
function parseTimes(stat: string): Times | undefined {
  const match = /^cpu +(\d[\d ]*)$/m.exec(stat);
  if (match?.[1] === undefined) return undefined;
  const seconds = match[1].split(" ").map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0] = seconds;
  const [steal = 0, guest = 0, guestNice = 0] = seconds.slice(7);
  return { user, nice, system, idle, iowait, irq, softirq, steal, guest, guestNice };
}

/** Cores by package in proc/cpuinfo; 0 where it does not say. */
function countCores(cpuinfo: string): number {
  const cores = new Set<string>();
  for (const block of cpuinfo.split("\n\n")) {
    const core = /^core id\s*: (\d+)/m.exec(block)?.[1];
    const socket = /^physical id\s*: (\d+)/m.exec(block)?.[1];
    if (core !== undefined) cores.add(`${socket ?? ""}/${core}`);
  }
  return cores.size;
}
