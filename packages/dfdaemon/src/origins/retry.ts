import { isPassing, isSilence } from "./origin-failure.ts";
import type { OriginError } from "./origin-error.ts";

export type RetryVerdict =
  | { readonly retry: true }
  /** `why`: to be added to the error's message. */
  | { readonly retry: false; readonly why: string };

/**
 * Whether another try can help, and there may be one. What carries a Retry-After is tried as long as its pauses may be waited for, however
 * many they are; other passing failures get `maxRetries` tries after the first. Silence, which has already cost a time-out, is tried only once more.
 *
 * @param attempt the one that failed, from 1
 * @param dateMs what time it is, in Unix milliseconds
 */
export function judgeRetry(
  error: OriginError,
  attempt: number,
  maxRetries: number,
  dateMs: number,
): RetryVerdict {
  if (!isPassing(error)) return { retry: false, why: "" };
  if (retryAfterMs(error, dateMs) !== undefined) return { retry: true };
  const retries = isSilence(error) ? Math.min(1, maxRetries) : maxRetries;
  if (attempt <= retries) return { retry: true };
  return { retry: false, why: attempt === 1 ? "" : ` (${attempt} attempts)` };
}

/** The Retry-After of a 429 or 503, from now on, in milliseconds (RFC 9110, section 10.2.3); undefined when there is none that can be read. @param dateMs Unix milliseconds */
export function retryAfterMs(error: OriginError, dateMs: number): number | undefined {
  if (error.statusCode !== 429 && error.statusCode !== 503) return undefined;
  const value = error.responseHeader?.["retry-after"]?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  // A date begins with the day's name; Date.parse would also read bare numbers as years.
  const time = /^[A-Za-z]{3,9},? /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : Math.max(0, time - dateMs);
}
