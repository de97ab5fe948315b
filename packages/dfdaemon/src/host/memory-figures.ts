import { freemem, totalmem } from "node:os";
import { join } from "node:path";
import type { Host } from "@damselfly/rpc";
import { percent, readSystemFile } from "./system-file.ts";

/** Memory of the system, in bytes, and this process's part of it. @param root - where `proc` is */
export async function readMemory(root: string = "/"): Promise<NonNullable<Host["memory"]>> {
  const meminfo = await readSystemFile(join(root, "proc/meminfo"));
  const at = (key: string): number | undefined => {
    const kibibytes = new RegExp(`^${key}: +(\\d+) kB$`, "m").exec(meminfo)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  };
  const total = at("MemTotal") ?? totalmem();
  const available = at("MemAvailable") ?? freemem();
  const used = Math.max(0, total - available);
  return {
    total,
    available,
    used,
    usedPercent: percent(used, total),
    processUsedPercent: percent(process.memoryUsage.rss(), total),
    free: at("MemFree") ?? freemem(),
  };
}
