export { SchedulerError, type SchedulerErrorCode } from "./errors.ts";
export type { Logger } from "./logger.ts";
export { DEFAULT_SCHEDULER_CONFIG, type SchedulerConfig } from "./scheduler-config.ts";
export {
  type SchedulerServer,
  serveScheduler,
  type ServeSchedulerOptions,
} from "./serve-scheduler.ts";
