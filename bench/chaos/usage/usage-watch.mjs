// What the processes of a run hold: memory and descriptors, looked at again and again. Linux only.
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { readResidentBytes } from "../../support/process-usage.mjs";
import { findProcesses } from "../cluster/marked-processes.mjs";

const EVERY_MS = 5_000;

export class UsageWatch {
  /**
   * `{ atMs, name, ageMs, bytes, fileCount, diskFileCount, processBytes }`: `atMs` by `Date.now()`; `fileCount` of all descriptors,
   * `diskFileCount` of those that are files on a disk; `processBytes` of each process.
   */
  samples = [];

  /** @param {{ servers: Map<string, object>, run: string }} options - servers by name, see server.mjs */
  constructor({ servers, run }) {
    this.servers = servers;
    this.run = run;
  }

  async watch(signal) {
    while (!signal.aborted) {
      this.samples.push(...this.look());
      await pause(EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Every server that runs, with everything that it has started. */
  look() {
    const marked = findProcesses(this.run);
    return [...this.servers].flatMap(([name, server]) => {
      if (!server.isUp) return [];
      const group = marked.filter(({ groupId }) => groupId === server.process.pid);
      const usages = group.flatMap(({ pid }) => usageOf(pid));
      if (usages.length === 0) return [];
      return [
        {
          atMs: Date.now(),
          name,
          ageMs: performance.now() - server.process.startedMs,
          bytes: sum(usages, "bytes"),
          fileCount: sum(usages, "fileCount"),
          diskFileCount: sum(usages, "diskFileCount"),
          processBytes: usages.map(({ bytes }) => bytes),
        },
      ];
    });
  }
}

function usageOf(pid) {
  try {
    const files = readdirSync(`/proc/${pid}/fd`);
    const diskFileCount = files.filter((file) => isOnDisk(`/proc/${pid}/fd/${file}`)).length;
    return [{ bytes: readResidentBytes(pid), fileCount: files.length, diskFileCount }];
  } catch {
    return []; // It has ended meanwhile.
  }
}

/** A socket is `socket:[1]`, a pipe `pipe:[1]`; only what lies somewhere has a path. */
function isOnDisk(link) {
  try {
    return /^\/(?!dev\/|proc\/)/u.test(readlinkSync(link));
  } catch {
    return false; // It has been closed meanwhile.
  }
}

function sum(list, name) {
  return list.reduce((total, each) => total + each[name], 0);
}
