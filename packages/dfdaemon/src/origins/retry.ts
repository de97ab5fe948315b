import { isPassing, isSilence } from "./origin-failure.ts";
import type { OriginError } from "./origin-error.ts";

export interface RetryPolicy {
  /** Tries after the first, for what carries no Retry-After. */
  readonly maxRetries: number;
  /** Longest time spent on an origin's Retry-After in one call, all waits together, in milliseconds. */
  readonly retryAfterMaxMs: number;
}

/** Where a call stands. */
export interface RetryState {
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** Spent on Retry-After so far. */
  readonly waitedMs: number;
}

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 10_000;

export type RetryDecision =
  | { readonly kind: "wait"; readonly waitMs: number; readonly askedFor: boolean }
  | { readonly kind: "give up"; readonly why: string };

/**
 * Whether to try again, and when. A Retry-After of 429 and 503 is obeyed as long as all of them together stay below the limit, however
 * many they are; other passing failures get `maxRetries` tries, each twice as late as the last and up to half of it earlier by chance.
 * Silence, which has already cost a time-out, is tried only once more.
 */
export function decideRetry(
  error: OriginError,
  state: RetryState,
  policy: RetryPolicy,
  { nowMs, random }: { readonly nowMs: number; readonly random: number },
): RetryDecision {
  if (!isPassing(error)) return { kind: "give up", why: "" };
  const { attempt, waitedMs } = state;
  const backoffMs =
    Math.min(BACKOFF_FIRST_MS * 2 ** (attempt - 1), BACKOFF_MAX_MS) * (1 - random / 2);
  const askedForMs = retryAfterMs(error, nowMs);
  if (askedForMs !== undefined) {
    const waitMs = Math.max(askedForMs, backoffMs);
    if (waitedMs + waitMs <= policy.retryAfterMaxMs)
      return { kind: "wait", waitMs, askedFor: true };
    const asks = `it asks to come back in ${seconds(askedForMs)} s`;
    const waited = waitedMs === 0 ? "" : `${seconds(waitedMs)} s have been waited, `;
    return {
      kind: "give up",
      why: `; ${asks}, ${waited}the limit is ${seconds(policy.retryAfterMaxMs)} s`,
    };
  }
  const retries = isSilence(error) ? Math.min(1, policy.maxRetries) : policy.maxRetries;
  if (attempt > retries)
    return { kind: "give up", why: attempt === 1 ? "" : ` (${attempt} attempts)` };
  return { kind: "wait", waitMs: backoffMs, askedFor: false };
}

/** The Retry-After of a 429 or 503, from now on, in milliseconds (RFC 9110, section 10.2.3); undefined when there is none that can be read. */
export function retryAfterMs(error: OriginError, nowMs: number): number | undefined {
  if (error.statusCode !== 429 && error.statusCode !== 503) return undefined;
  const value = error.responseHeader?.["retry-after"]?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  // A date begins with the day's name; Date.parse would also read bare numbers as years.
  const time = /^[A-Za-z]{3,9},? /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : Math.max(0, time - nowMs);
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
