import type { DamagedPieces, StorageUsage } from "@damselfly/storage";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Eviction } from "../gc/plan-eviction.ts";
import type { ScrubObserver } from "../gc/scrub-loop.ts";

/** Who counts what becomes of the cache. */
export interface CacheObserver extends ScrubObserver {
  looked(usage: StorageUsage): void;
  evicted(eviction: Eviction): void;
  damaged(found: DamagedPieces): void;
}

/** Registers what the cache holds and what becomes of it, under names of our own, and counts it. */
export function registerCacheMetrics(registry: Registry): CacheObserver {
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
    new Counter({ name: `damselfly_${name}`, help, labelNames, registers });
  let usage: StorageUsage | undefined;
  // How things were when the collector looked last: a reset does not change it.
  const gauge = (
    name: string,
    help: string,
    valuesOf: (usage: StorageUsage) => readonly (readonly [labels: object, value: number])[],
    labelNames: string[] = [],
  ): void => {
    const made: Gauge = new Gauge({
      name: `damselfly_${name}`,
      help,
      labelNames,
      registers,
      collect(): void {
        if (usage === undefined) return;
        for (const [labels, value] of valuesOf(usage)) made.set({ ...labels }, value);
      },
    });
  };
  gauge("cache_bytes", "Bytes that all files of the cache take, as of the last look", (seen) => [
    [{}, seen.bytes],
  ]);
  gauge("cache_reserved_bytes", "Bytes still to come for running downloads", (seen) => [
    [{}, seen.reservedBytes],
  ]);
  gauge(
    "cache_tasks",
    "Tasks in the cache: all, pinned, in use",
    ({ tasks }) => [
      [{ state: "all" }, tasks.length],
      [{ state: "pinned" }, tasks.filter(({ pinned }) => pinned).length],
      [{ state: "busy" }, tasks.filter(({ busy }) => busy).length],
    ],
    ["state"],
  );
  const evictedTasks = counter("cache_evicted_tasks_total", "Tasks evicted, by why", ["reason"]);
  const evictedBytes = counter("cache_evicted_bytes_total", "Bytes they took, by why", ["reason"]);
  const damagedPieces = counter(
    "cache_damaged_pieces_total",
    "Pieces found damaged and withdrawn, by what showed it",
    ["how"],
  );
  const scrubbedPieces = counter("scrub_pieces_total", "Pieces that the scrub has read", [
    "result",
  ]);
  const scrubbedBytes = counter("scrub_bytes_total", "Bytes that the scrub has read");
  const passes = counter("scrub_passes_total", "Times that the scrub has read everything");
  return {
    looked(seen) {
      usage = seen;
    },
    evicted({ reason, bytes }) {
      evictedTasks.inc({ reason });
      evictedBytes.inc({ reason }, bytes);
    },
    damaged({ pieceCount, how }) {
      damagedPieces.inc({ how }, pieceCount);
    },
    pieceScrubbed({ length, isGood }) {
      scrubbedPieces.inc({ result: isGood ? "good" : "damaged" });
      scrubbedBytes.inc(length);
    },
    scrubPassed() {
      passes.inc();
    },
  };
}
