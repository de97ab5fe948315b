// What the processes of a run hold: memory and descriptors, looked at again and again. Linux only.
import { readdirSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { readResidentBytes } from "../../support/process-usage.mjs";
import { findProcesses } from "../cluster/marked-processes.mjs";

const EVERY_MS = 5_000;

export class UsageWatch {
  /** `{ atMs, name, ageMs, bytes, fileCount, processBytes }`, `atMs` by `Date.now()`; `processBytes` of each process. */
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
          processBytes: usages.map(({ bytes }) => bytes),
        },
      ];
    });
  }
}

function usageOf(pid) {
  try {
    return [{ bytes: readResidentBytes(pid), fileCount: readdirSync(`/proc/${pid}/fd`).length }];
  } catch {
    return []; // It has ended meanwhile.
  }
}

function sum(list, name) {
  return list.reduce((total, each) => total + each[name], 0);
}
