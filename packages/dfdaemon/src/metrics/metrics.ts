import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { TrafficType } from "@damselfly/storage";

/** Powers of two, 1 ms to 2 h 20 min, as Dragonfly's histograms. */
const DURATION_BUCKETS_MS = Array.from({ length: 24 }, (_, exponent) => 2 ** exponent);

/** Every figure this daemon exports. Names, labels and buckets are Dragonfly's where it has them (dragonfly-client-metric). */
export interface Metrics {
  readonly registry: Registry;
  taskStarted(): void;
  taskEnded(outcome: { readonly failed: boolean; readonly durationMs: number }): void;
  pieceDownloaded(piece: {
    readonly trafficType: TrafficType;
    readonly length: number;
    readonly costMs: number;
  }): void;
  pieceUploadStarted(): void;
  pieceUploadEnded(length: number): void;
}

export function createMetrics(build: {
  readonly version: string;
  readonly platform: string;
}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const version = new Gauge({
    name: "dragonfly_client_version",
    help: "1, with the version of this daemon as labels",
    labelNames: ["git_version", "platform"],
    registers,
  });
  version.set({ git_version: build.version, platform: build.platform }, 1);
  const tasks = new Counter({
    name: "dragonfly_client_download_task_total",
    help: "Downloads begun, several callers of one task counting once",
    registers,
  });
  const taskFailures = new Counter({
    name: "dragonfly_client_download_task_failure_total",
    help: "Downloads that ended without every piece asked for",
    registers,
  });
  const running = new Gauge({
    name: "dragonfly_client_concurrent_download_task_total",
    help: "Downloads under way",
    registers,
  });
  const taskDuration = new Histogram({
    name: "dragonfly_client_download_task_duration_milliseconds",
    help: "How long downloads took, failed ones included",
    buckets: DURATION_BUCKETS_MS,
    registers,
  });
  const traffic = new Counter({
    name: "dragonfly_client_download_traffic",
    help: "Bytes downloaded and checked, by where they came from",
    labelNames: ["type"],
    registers,
  });
  const pieceDuration = new Histogram({
    name: "dragonfly_client_download_piece_duration_milliseconds",
    help: "How long pieces took, by where they came from",
    labelNames: ["type"],
    buckets: DURATION_BUCKETS_MS,
    registers,
  });
  const uploads = new Gauge({
    name: "dragonfly_client_concurrent_upload_piece_total",
    help: "Pieces being served",
    registers,
  });
  const uploadTraffic = new Counter({
    name: "dragonfly_client_upload_traffic",
    help: "Bytes served to other daemons",
    registers,
  });

  return {
    registry,
    taskStarted() {
      tasks.inc();
      running.inc();
    },
    taskEnded({ failed, durationMs }) {
      running.dec();
      taskDuration.observe(durationMs);
      if (failed) taskFailures.inc();
    },
    pieceDownloaded({ trafficType, length, costMs }) {
      traffic.inc({ type: trafficType }, length);
      pieceDuration.observe({ type: trafficType }, costMs);
    },
    pieceUploadStarted() {
      uploads.inc();
    },
    pieceUploadEnded(length) {
      uploads.dec();
      uploadTraffic.inc(length);
    },
  };
}
