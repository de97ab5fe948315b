import * as z from "zod";

/**
 * A setting in time, as `300ms`, `5m`, `1h30m` or `2 days`; in milliseconds once parsed. Takes what Dragonfly's does: the spellings of
 * the Rust library humantime, a month being 30.44 days and a year 365.25. A bare number other than 0 is refused: Dragonfly's parts do
 * not agree on what it would mean.
 *
 * Timers of Node hold at most 2^31 - 1 ms (24.8 days), and fire at once when they are set to more: `timerDuration` is for those.
 *
 * @param options.minMs - the least duration accepted; 0 unless given
 */
export function duration(
  options: { readonly minMs?: number } = {},
): z.ZodType<number, string | number> {
  const { minMs = 0 } = options;
  const wanted =
    minMs > 0
      ? `a duration of ${formatDuration(minMs)} or more`
      : "a duration such as 500ms, 5m or 1h30m";
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const ms = typeof value === "number" ? (value === 0 ? 0 : undefined) : parseDuration(value);
    if (ms !== undefined && ms >= minMs) return ms;
    context.issues.push({ code: "custom", message: wanted, input: value });
    return z.NEVER;
  });
}

/** The same for what a timer is set with: what is longer than one can hold, 24.8 days, counts as that. */
export function timerDuration(
  options: { readonly minMs?: number } = {},
): z.ZodType<number, string | number> {
  return duration(options).transform((ms) => Math.min(ms, TIMER_MS_MAX));
}

/** The longest that a timer of Node can be set to, 24.8 days. Milliseconds. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1;

/** Milliseconds, or undefined if the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "0") return 0;
  if (trimmed.length > TEXT_LENGTH_MAX || !DURATION.test(trimmed)) return undefined;
  let ms = 0;
  for (const [, count, unit] of trimmed.matchAll(PART)) ms += Number(count) * msPerUnit(unit ?? "");
  return Number.isFinite(ms) ? ms : undefined;
}

/** The shortest text that `parseDuration` reads as these milliseconds, for whole milliseconds. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = ms;
  let text = "";
  for (const [unit, length] of FORMAT_UNITS) {
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return text;
}

const UNITS: readonly (readonly [RegExp, number])[] = [
  [/^(ns|nsecs?|nanos?)$/, 1e-6],
  [/^(us|µs|usecs?|micros?)$/, 1e-3],
  [/^(ms|msecs?|millis?)$/, 1],
  [/^(s|secs?|seconds?)$/, 1_000],
  [/^(m|mins?|minutes?)$/, 60_000],
  [/^(h|hrs?|hours?)$/, 3_600_000],
  [/^(d|days?)$/, 86_400_000],
  [/^(w|wks?|weeks?)$/, 604_800_000],
  [/^(M|months?)$/, 2_630_016_000],
  [/^(y|yrs?|years?)$/, 31_557_600_000],
];
const FORMAT_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;
const UNIT =
  "(?:ns|nsecs?|nanos?|us|µs|usecs?|micros?|ms|msecs?|millis?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?|M|months?|y|yrs?|years?)";
const DURATION = new RegExp(`^\\d+(?:\\.\\d+)?\\s*${UNIT}(?:\\s*\\d+(?:\\.\\d+)?\\s*${UNIT})*$`);
const PART = /(\d+(?:\.\d+)?)\s*([a-zA-Zµ]+)/g;
const TEXT_LENGTH_MAX = 64;

function msPerUnit(unit: string): number {
  return UNITS.find(([names]) => names.test(unit))?.[1] ?? NaN;
}
