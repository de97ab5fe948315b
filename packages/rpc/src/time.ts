import type { Duration, Timestamp } from "./generated/messages.ts";

/** Milliseconds, fractions included, as google.protobuf.Duration: both parts have the same sign. */
export function durationFromMs(ms: number): { seconds: number; nanos: number } {
  const wholeSeconds = Math.trunc(ms / 1000);
  const nanos = Math.round((ms - wholeSeconds * 1000) * 1e6);
  const carry = Math.trunc(nanos / 1e9);
  return { seconds: wholeSeconds + carry, nanos: nanos - carry * 1e9 };
}

export function durationToMs(duration: Duration): number {
  return (duration.seconds ?? 0) * 1000 + (duration.nanos ?? 0) / 1e6;
}

export function timestampFromDate(date: Date): { seconds: number; nanos: number } {
  const seconds = Math.floor(date.getTime() / 1000);
  return { seconds, nanos: (date.getTime() - seconds * 1000) * 1e6 };
}

/** Whole milliseconds; finer parts are dropped. */
export function timestampToDate(timestamp: Timestamp): Date {
  const ms = Math.floor((timestamp.nanos ?? 0) / 1e6);
  return new Date((timestamp.seconds ?? 0) * 1000 + ms);
}
