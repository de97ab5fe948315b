import { availableParallelism } from "node:os";
import type { Config } from "../config/config.ts";

/** Of them, one moves as much as two where there are two cores: the control process and the system want the rest. */
const CORES_PER_WORKER = 4;
const AUTO_COUNT_MAX = 4;

/** Processes that move content, as the settings say; 0: this one does. */
export function countWorkers({ dataPlane: { workers } }: Pick<Config, "dataPlane">): number {
  if (workers !== "auto") return workers;
  return Math.min(
    AUTO_COUNT_MAX,
    Math.max(1, Math.floor(availableParallelism() / CORES_PER_WORKER)),
  );
}
