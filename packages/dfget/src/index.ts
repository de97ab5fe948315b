export type { DfgetIo } from "./dfget-io.ts";
export { DfgetError, type DfgetErrorCode, Interrupt, type OriginAnswer } from "./errors.ts";
export type { DaemonCommand } from "./own-daemon.ts";
export { runDfget } from "./run-dfget.ts";
