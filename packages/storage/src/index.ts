export type { Lack } from "./accounting.ts";
export { ContentFiles } from "./content-files.ts";
export type { Clock, DamagedPieces, PieceDigest } from "./context.ts";
export { StorageError, type StorageErrorCode } from "./errors.ts";
export type { Logger } from "./logger.ts";
export type { ScrubOptions } from "./scrub.ts";
export { openStorage, type StorageOptions } from "./open-storage.ts";
export type {
  ContentSender,
  EvictOutcome,
  LocatedPiece,
  OutputMethod,
  OutputOptions,
  PieceChange,
  PieceDraft,
  PieceRecord,
  PieceTarget,
  Spool,
  SpoolSender,
  Storage,
  StorageUsage,
  StoredTask,
  TaskFacts,
  TaskUsage,
  TrafficType,
} from "./storage.ts";
export { KeyedSerial } from "./serial.ts";
export { DEFAULT_STORAGE_LIMITS, type StorageLimits } from "./storage-limits.ts";
