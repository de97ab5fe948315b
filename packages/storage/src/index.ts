export type { Clock } from "./context.ts";
export { StorageError, type StorageErrorCode } from "./errors.ts";
export type { Logger } from "./logger.ts";
export {
  DEFAULT_STORAGE_LIMITS,
  openStorage,
  type StorageLimits,
  type StorageOptions,
} from "./open-storage.ts";
export type {
  OutputMethod,
  OutputOptions,
  PieceChange,
  PieceDraft,
  PieceRecord,
  Spool,
  Storage,
  StoredTask,
  TaskFacts,
  TrafficType,
} from "./storage.ts";
