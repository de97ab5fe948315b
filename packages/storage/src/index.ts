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
