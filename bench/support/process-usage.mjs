// What processes use, from Linux's /proc.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** USER_HZ: the unit of the times in /proc/PID/stat. */
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
/** How often the peak memory of a process is looked at that ends by itself. */
const SAMPLE_MS = 20;

/** CPU seconds, user and system, that a process has used so far. */
export function readCpuSeconds(pid) {
  const fields = readStat(pid);
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** CPU seconds of all our children that have ended and been waited for. */
export function readEndedCpuSeconds() {
  const fields = readStat("self");
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** Most memory that a process has had resident since its start or `resetPeak`, in bytes; 0 once it has ended. */
export function readPeakBytes(pid) {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** The peak starts anew: see proc(5), clear_refs. */
export function resetPeak(pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Watches the peak of a process that will end; call what is returned for the most that was seen. */
export function followPeak(pid) {
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
