import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Host } from "@damselfly/rpc";
import { percent, readSystemFile } from "./system-file.ts";

type CgroupCpu = NonNullable<NonNullable<Host["cpu"]>["cgroup"]>;
type CgroupMemory = NonNullable<NonNullable<Host["memory"]>["cgroup"]>;

/** A version 1 group without a limit has one of about 2^63. Bytes. */
const UNLIMITED_BYTES = 2 ** 62;

/** What a container may use, and uses; a part is absent where no limit is set. */
export interface CgroupFigures {
  readonly cpu?: CgroupCpu;
  readonly memory?: CgroupMemory;
}

/** Limits of the control group that this process is in, of either version; the CPU's use is the mean since the last reading. */
export class CgroupGauge {
  readonly #root: string;
  readonly #now: () => number;
  #last: { readonly usedMs: number; readonly atMs: number } | undefined;

  /** @param options.root - where `proc` and `sys` are */
  constructor(options: { readonly root?: string; readonly now?: () => number } = {}) {
    this.#root = options.root ?? "/";
    this.#now = options.now ?? (() => performance.now());
  }

  async read(): Promise<CgroupFigures> {
    const groups = await readSystemFile(join(this.#root, "proc/self/cgroup"));
    const [cpu, memory] = await Promise.all([this.#readCpu(groups), this.#readMemory(groups)]);
    return {
      ...(cpu === undefined ? {} : { cpu }),
      ...(memory === undefined ? {} : { memory }),
    };
  }

  async #readCpu(groups: string): Promise<CgroupCpu | undefined> {
    const limits = (await this.#file(groups, "", "cpu.max")).trim().split(" ");
    const quota = Number(limits[0] || (await this.#file(groups, "cpu", "cpu.cfs_quota_us")));
    const period = Number(limits[1] ?? (await this.#file(groups, "cpu", "cpu.cfs_period_us")));
    if (!(quota > 0) || !(period > 0)) return undefined;
    const stat = await this.#file(groups, "", "cpu.stat");
    const usedUs = /^usage_usec (\d+)$/m.exec(stat)?.[1];
    const usedMs =
      usedUs === undefined
        ? Number(await this.#file(groups, "cpuacct", "cpuacct.usage")) / 1e6
        : Number(usedUs) / 1e3;
    return { period, quota, usedPercent: this.#usedPercent(usedMs, quota / period) };
  }

  /** Of `share` processors. */
  #usedPercent(usedMs: number, share: number): number {
    const now = { usedMs, atMs: this.#now() };
    const last = this.#last;
    this.#last = now;
    if (last === undefined) return 0;
    const capacity = Math.min(share, availableParallelism());
    return percent(now.usedMs - last.usedMs, (now.atMs - last.atMs) * capacity);
  }

  async #readMemory(groups: string): Promise<CgroupMemory | undefined> {
    const [limit, usage] = [
      Number(
        (await this.#file(groups, "", "memory.max")) ||
          (await this.#file(groups, "memory", "memory.limit_in_bytes")),
      ),
      Number(
        (await this.#file(groups, "", "memory.current")) ||
          (await this.#file(groups, "memory", "memory.usage_in_bytes")),
      ),
    ];
    if (!(limit > 0) || limit >= UNLIMITED_BYTES) return undefined;
    return { limit, usage, usedPercent: percent(usage, limit) };
  }

  /**
   * A file of the group. In a container the group's own directory is often mounted where the root is (cgroup_namespaces(7)).
   *
   * @param controller - of version 1; empty: version 2
   */
  async #file(groups: string, controller: string, name: string): Promise<string> {
    const path = pathOf(groups, controller);
    if (path === undefined) return "";
    const base = join(this.#root, "sys/fs/cgroup", controller);
    return (
      (await readSystemFile(join(base, path, name))) || (await readSystemFile(join(base, name)))
    );
  }
}

/** `hierarchy:controllers:path` a line (cgroups(7)). */
function pathOf(groups: string, controller: string): string | undefined {
  for (const line of groups.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers !== undefined && controllers.split(",").includes(controller))
      return path.join(":");
  }
  return undefined;
}
