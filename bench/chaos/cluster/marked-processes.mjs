// The processes of a run, or of runs that are no more, by what is in their environment. Linux only.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { MARKER } from "./chaos-process.mjs";

/**
 * What a run is called: its process id first, so that what it left behind can be told from what is in use.
 */
export function runName(start) {
  return `${process.pid}-${start}`;
}

/** @returns `{ pid, parentPid, groupId, command }` of every process of a run; those that have ended and are not waited for yet are left out */
export function findProcesses(run) {
  return allMarked().filter((each) => each.run === run);
}

/** Ends what runs left that were killed themselves. @returns how many there were */
export function killStaleProcesses() {
  const stale = allMarked().filter(({ run }) => !existsSync(`/proc/${run.split("-")[0]}`));
  for (const { pid } of stale) process.kill(pid, "SIGKILL");
  return stale.length;
}

function allMarked() {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        const environment = readFileSync(`/proc/${name}/environ`, "latin1");
        const run = new RegExp(`(?:^|\\0)${MARKER}=([^\\0]*)`).exec(environment)?.[1];
        if (run === undefined) return [];
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        const [state, parentPid, groupId] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        if (state === "Z") return [];
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        const ids = { pid: Number(name), parentPid: Number(parentPid), groupId: Number(groupId) };
        return [{ ...ids, run, command }];
      } catch {
        return []; // It has ended meanwhile, or is not ours to look into.
      }
    });
}
