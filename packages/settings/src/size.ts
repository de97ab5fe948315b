import * as z from "zod";

/**
 * A setting in bytes: a number, or a text such as `50GB` (decimal, 50 * 10^9) or `64MiB` (binary, 64 * 2^20), in any case.
 *
 * @param options.min - the least number of bytes accepted; 0 unless given
 * @param options.max - the most; 2^53 - 1 unless given
 */
export function size(
  options: { readonly min?: number; readonly max?: number } = {},
): z.ZodType<number, string | number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  const bounds = [
    ...(min > 0 ? [`at least ${min} bytes`] : []),
    ...(max < Number.MAX_SAFE_INTEGER ? [`at most ${max} bytes`] : []),
  ];
  const wanted = ["a size such as 4096, 64MiB or 50GB", ...bounds].join(", ");
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const bytes = typeof value === "number" ? value : parseSize(value);
    if (bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= min && bytes <= max)
      return bytes;
    context.issues.push({ code: "custom", message: wanted, input: value });
    return z.NEVER;
  });
}

/** Bytes, cut to a whole number; undefined if the text is no size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text.trim());
  if (match === null) return undefined;
  const [, count = "", unit, prefix = "", binary] = match;
  // Half a byte was never meant; half a KiB may be.
  if (unit === undefined && count.includes(".")) return undefined;
  const power = PREFIXES.indexOf(prefix.toLowerCase());
  const bytes = Math.trunc(Number(count) * (binary === undefined ? 1_000 : 1_024) ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const SIZE = /^(\d{1,16}(?:\.\d{1,9})?)\s*(([kmgtp])(i)?b?|b)?$/i;
const PREFIXES = ["", "k", "m", "g", "t", "p"];
