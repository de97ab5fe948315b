import { statfs } from "node:fs/promises";
import type { TrafficType } from "@damselfly/storage";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { OriginObserver } from "../origins/http-origin.ts";
import { createLiveGauge } from "./live-gauge.ts";
import { TaskLabeler, taskSizeLevel, type TaskLabels } from "./task-labels.ts";

/** Powers of two, 1 ms to 2 h 20 min, as Dragonfly's histograms. */
const DURATION_BUCKETS_MS: number[] = Array.from({ length: 24 }, (_, exponent) => 2 ** exponent);

/**
 * Every figure of Dragonfly's daemon that this one has, under its names, labels and buckets; source: dragonfly-client-metric 1.5.10.
 * Its proxy's are not among them: there is no proxy. Other files may add theirs to `registry`.
 */
export interface Metrics extends OriginObserver {
  readonly registry: Registry;
  readonly labeler: TaskLabeler;
  taskStarted(labels: TaskLabels): void;
  /** However it ended; in the end exactly one for each start. */
  taskEnded(labels: TaskLabels, outcome: TaskOutcome): void;
  /** Refused by a block list, in the place of `taskStarted`. */
  taskBlocked(labels: TaskLabels): void;
  /** A download of what nobody has asked for yet, besides `taskStarted`. */
  prefetchStarted(labels: TaskLabels): void;
  prefetchFailed(labels: TaskLabels): void;
  /** @param originLength of a parent's piece, the bytes that came from the origin all the same */
  pieceDownloaded(
    piece: {
      readonly trafficType: TrafficType;
      readonly length: number;
      readonly costMs: number;
    },
    originLength?: number,
  ): void;
  pieceUploadStarted(): void;
  pieceUploadEnded(length: number): void;
  called(call: MeteredCall): void;
  callFailed(call: MeteredCall): void;
  /** Back to nothing, as `DELETE /metrics` does it at Dragonfly's; what is under way stays counted, and so do the blocked. */
  reset(): void;
}

export type TaskOutcome =
  | { readonly kind: "done"; readonly length: number; readonly durationMs: number }
  | { readonly kind: "failed" }
  /** Whoever asked went away. */
  | { readonly kind: "left" };

/** Calls of the services that are counted, by Dragonfly's names for them. */
export type MeteredCall = keyof typeof CALLS;

/** With the names of the failures, one of which is spelt otherwise there. */
const CALLS = {
  stat_task: ["stat_task", "Questions for a task"],
  list_local_tasks: ["list_tasks", "Questions for the tasks on this host"],
  list_task_entries: ["list_task_entries", "Questions for what is in a directory"],
  delete_task: ["delete_task", "Deletions of a task"],
  delete_local_task: ["delete_local_task", "Deletions of a task on this host only"],
  delete_host: ["delete_host", "Deletions of this host"],
  // Of persistent cache tasks, which there are none of here.
  update_task: ["update_task", "Changes of a task"],
} as const;

/** Dragonfly's labels of a call: the type of task, which is always the standard one here. */
const STANDARD = { type: "0" };
/** What `reset` leaves alone. */
const NEVER_RESET: readonly string[] = [
  "dragonfly_client_download_task_blocked_total",
  "dragonfly_client_upload_task_blocked_total",
];

export function createMetrics(build: {
  readonly version: string;
  readonly platform: string;
  /** A directory on the disk that is reported; none is without it. */
  readonly storageDirectory?: string;
}): Metrics {
  const registry = new Registry();
  const make = makersIn(registry);
  const labeler = new TaskLabeler();
  const version = make.gauge("version", "1, with the version of this daemon as labels", [
    "git_version",
    "git_commit",
    "platform",
    "build_time",
  ]);
  const sayVersion = (): void =>
    version.set(
      {
        git_version: build.version,
        git_commit: "unknown",
        platform: build.platform,
        build_time: "unknown",
      },
      1,
    );
  sayVersion();

  const taskLabels = ["type", "tag", "app", "priority"] as const;
  const tasks = make.counter("download_task_total", "Downloads asked for", taskLabels);
  const taskFailures = make.counter(
    "download_task_failure_total",
    "Downloads that ended with an error",
    taskLabels,
  );
  const running = createLiveGauge(registry, {
    name: `${PREFIX}concurrent_download_task_total`,
    help: "Downloads under way",
    labelNames: taskLabels,
  });
  const taskDuration = make.histogram(
    "download_task_duration_milliseconds",
    "How long downloads took that came to a good end",
    ["task_type", "task_size_level"],
  );
  const blocked = make.counter("download_task_blocked_total", "Downloads refused by a block list", [
    "type",
  ]);
  make.counter("upload_task_blocked_total", "Uploads refused by a block list", ["type"]);
  const prefetches = make.counter(
    "prefetch_task_total",
    "Downloads of the rest of a file of which a range was asked for",
    taskLabels,
  );
  const prefetchFailures = make.counter(
    "prefetch_task_failure_total",
    "Of those, the ones that failed",
    taskLabels,
  );

  const traffic = make.counter(
    "download_traffic",
    "Bytes downloaded and checked, by where they came from",
    ["type"],
  );
  const pieceDuration = make.histogram(
    "download_piece_duration_milliseconds",
    "How long pieces took, by where they came from",
    ["type"],
  );
  const uploads = createLiveGauge(registry, {
    name: `${PREFIX}concurrent_upload_piece_total`,
    help: "Pieces being served",
    labelNames: [],
  });
  const uploadTraffic = make.counter("upload_traffic", "Bytes served to other daemons", []);

  const originLabels = ["scheme", "method"] as const;
  const originRequests = make.counter(
    "backend_request_total",
    "Requests to origins, redirects and retries included",
    originLabels,
  );
  const originFailures = make.counter(
    "backend_request_failure_total",
    "Of those, the ones without an answer, or with one of 400 or above",
    originLabels,
  );
  const originDuration = make.histogram(
    "backend_request_duration_milliseconds",
    "From the request to the header of a good answer",
    originLabels,
  );

  const calls = new Map<string, { readonly total: Counter; readonly failures: Counter }>();
  for (const [name, [failureName, help]] of Object.entries(CALLS)) {
    const labelNames = name === "delete_host" ? [] : ["type"];
    calls.set(name, {
      total: make.counter(`${name}_total`, help, labelNames),
      failures: make.counter(`${failureName}_failure_total`, `${help} that failed`, labelNames),
    });
  }
  const labelsOfCall = (name: MeteredCall): object => (name === "delete_host" ? {} : STANDARD);
  if (build.storageDirectory !== undefined) addDiskGauges(registry, build.storageDirectory);

  return {
    registry,
    labeler,
    taskStarted(labels) {
      tasks.inc({ ...labels });
      running.add(labels, 1);
    },
    taskEnded(labels, outcome) {
      running.add(labels, -1);
      if (outcome.kind === "failed") taskFailures.inc({ ...labels });
      if (outcome.kind !== "done") return;
      const task_size_level = taskSizeLevel(outcome.length);
      taskDuration.observe({ task_type: labels.type, task_size_level }, outcome.durationMs);
    },
    taskBlocked({ type }) {
      blocked.inc({ type });
    },
    prefetchStarted(labels) {
      prefetches.inc({ ...labels });
    },
    prefetchFailed(labels) {
      prefetchFailures.inc({ ...labels });
    },
    pieceDownloaded({ trafficType, length, costMs }, originLength = 0) {
      const ownLength = trafficType === "REMOTE_PEER" ? length - originLength : length;
      traffic.inc({ type: trafficType }, ownLength);
      if (ownLength < length) traffic.inc({ type: "BACK_TO_SOURCE" }, originLength);
      pieceDuration.observe({ type: trafficType }, costMs);
    },
    pieceUploadStarted() {
      uploads.add({}, 1);
    },
    pieceUploadEnded(length) {
      uploads.add({}, -1);
      uploadTraffic.inc(length);
    },
    originAsked(request) {
      originRequests.inc({ ...request });
    },
    originAnswered(request, { failed, costMs }) {
      if (failed) originFailures.inc({ ...request });
      else originDuration.observe({ ...request }, costMs);
    },
    called(call) {
      calls.get(call)?.total.inc(labelsOfCall(call));
    },
    callFailed(call) {
      calls.get(call)?.failures.inc(labelsOfCall(call));
    },
    reset() {
      for (const { name } of registry.getMetricsAsArray())
        if (!NEVER_RESET.includes(name)) registry.getSingleMetric(name)?.reset();
      labeler.reset();
      // Dragonfly's is gone with the rest; but alerts that look whether a daemon is there look for this one.
      sayVersion();
    },
  };
}

const PREFIX = "dragonfly_client_";

/** Of the disk that the directory is on, looked at when the metrics are read. */
function addDiskGauges(registry: Registry, directory: string): void {
  const add = (name: string, help: string, bytesOf: (disk: Disk) => number): void => {
    const gauge = new Gauge({
      name: `${PREFIX}${name}`,
      help,
      registers: [registry],
      async collect() {
        const { bsize, blocks, bavail } = await statfs(directory);
        gauge.set(bytesOf({ total: blocks * bsize, available: bavail * bsize }));
      },
    });
  };
  add("disk_space_total", "Bytes of the disk that content is on", ({ total }) => total);
  add(
    "disk_usage_space_total",
    "Bytes of it that are taken, by whomever",
    ({ total, available }) => total - available,
  );
}

interface Disk {
  readonly total: number;
  readonly available: number;
}

interface Makers {
  counter(name: string, help: string, labelNames: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames: readonly string[]): Gauge;
  histogram(name: string, help: string, labelNames: readonly string[]): Histogram;
}

function makersIn(registry: Registry): Makers {
  const common = (name: string, help: string, labelNames: readonly string[]) => ({
    name: `${PREFIX}${name}`,
    help,
    labelNames: [...labelNames],
    registers: [registry],
  });
  return {
    counter: (...given) => new Counter(common(...given)),
    gauge: (...given) => new Gauge(common(...given)),
    histogram: (...given) => new Histogram({ ...common(...given), buckets: DURATION_BUCKETS_MS }),
  };
}
