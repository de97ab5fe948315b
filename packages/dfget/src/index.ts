export { DfgetError, type DfgetErrorCode, Interrupt, type OriginAnswer } from "./errors.ts";
export { type DfgetIo, runDfget } from "./run-dfget.ts";
