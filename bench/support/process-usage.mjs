// What processes use, from Linux's /proc.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** How often the peak memory of a process is looked at that ends by itself. */
const SAMPLE_MS = 20;

let ticksPerSecond;

/**
 * Watches what processes use from now on.
 *
 * @param pids - of those that run on, by role
 * @returns `follow(role, pid)` for the one process that ends by itself before `take()`, which says CPU seconds, peak memory and open files by role
 */
export function watchUsage(pids) {
  const before = new Map(Object.entries(pids).map(([role, pid]) => [role, readCpuSeconds(pid)]));
  for (const pid of Object.values(pids)) resetPeak(pid);
  const endedBefore = readEndedCpuSeconds();
  let followed;
  return {
    follow(role, pid) {
      followed = { role, peak: followPeak(pid) };
    },
    take() {
      const cpuSeconds = {};
      const peakBytes = {};
      const fileCounts = {};
      for (const [role, pid] of Object.entries(pids)) {
        cpuSeconds[role] = readCpuSeconds(pid) - before.get(role);
        peakBytes[role] = readPeakBytes(pid);
        fileCounts[role] = readdirSync(`/proc/${pid}/fd`).length;
      }
      if (followed !== undefined) {
        cpuSeconds[followed.role] = readEndedCpuSeconds() - endedBefore;
        peakBytes[followed.role] = followed.peak();
      }
      return { cpuSeconds, peakBytes, fileCounts };
    },
  };
}

/** CPU seconds, user and system, that a process has used so far. */
function readCpuSeconds(pid) {
  const fields = readStat(pid);
  return toSeconds(Number(fields[11]) + Number(fields[12]));
}

/** CPU seconds of all our children that have ended and been waited for. */
function readEndedCpuSeconds() {
  const fields = readStat("self");
  return toSeconds(Number(fields[13]) + Number(fields[14]));
}

/** From USER_HZ, the unit of the times in /proc/PID/stat. */
function toSeconds(ticks) {
  ticksPerSecond ??= Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
  return ticks / ticksPerSecond;
}

/** Most memory that a process has had resident since its start or `resetPeak`, in bytes; 0 once it has ended. */
function readPeakBytes(pid) {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Memory of a process that is resident now, in bytes. */
export function readResidentBytes(pid) {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** The peak starts anew: see proc(5), clear_refs. */
function resetPeak(pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Watches the peak of a process that will end; call what is returned for the most that was seen. */
function followPeak(pid) {
  let peakBytes = 0;
  const look = () => {
    try {
      peakBytes = Math.max(peakBytes, readPeakBytes(pid));
    } catch {
      // It has ended: what was seen stays.
    }
  };
  look();
  const timer = setInterval(look, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return peakBytes;
  };
}

/** Fields of /proc/PID/stat from the third on: the second, the name, may hold spaces. */
function readStat(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
