export { type LoadedConfig, loadConfig } from "./config/load-config.ts";
export type { Config } from "./config/config.ts";
export {
  TransportChooser,
  type TransportChooserInit,
} from "./data-plane/choice/transport-chooser.ts";
export { DaemonError, type DaemonErrorCode } from "./errors.ts";
export type { Logger } from "./logger.ts";
export { runDaemon, type RunningDaemon, type RunOptions } from "./run.ts";
export { VERSION } from "./version.ts";
