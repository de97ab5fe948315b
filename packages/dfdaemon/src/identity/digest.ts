import { DaemonError } from "../errors.ts";

/** A digest that a user or a registry can name. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex, or for CRC-32 a decimal number. */
  readonly encoded: string;
}

export type DigestAlgorithm = "crc32" | "sha256" | "sha512";

/**
 * Reads `<algorithm>:<value>`: `sha256:` with 64 hex digits, `sha512:` with 128, `crc32:` with a **decimal** number.
 *
 * Dragonfly lets any text of the right length through and finds out at the end of the download; what can never match is refused
 * here. Hex is returned in lower case, decimals without leading zeros.
 *
 * @throws {DaemonError} `ERR_REQUEST` if it is none of these
 */
export function parseDigest(text: string): Digest {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, Math.max(colon, 0));
  const value = text.slice(colon + 1);
  switch (algorithm) {
    case "sha256":
      return { algorithm, encoded: parseHex(text, value, 64) };
    case "sha512":
      return { algorithm, encoded: parseHex(text, value, 128) };
    case "crc32":
      return { algorithm, encoded: parseCrc32(text, value) };
    default:
      throw refusal(text, "expected sha256:, sha512: or crc32: and a value");
  }
}

/** The text that `parseDigest` reads. */
export function formatDigest({ algorithm, encoded }: Digest): string {
  return `${algorithm}:${encoded}`;
}

function parseHex(text: string, value: string, length: number): string {
  if (value.length !== length || !/^[0-9a-f]*$/i.test(value))
    throw refusal(text, `expected ${length} hex digits behind the colon`);
  return value.toLowerCase();
}

function parseCrc32(text: string, value: string): string {
  if (!/^[0-9]{1,10}$/.test(value) || Number(value) > 0xff_ff_ff_ff)
    throw refusal(text, "expected a decimal number below 2^32 behind the colon");
  return String(Number(value));
}

function refusal(text: string, expectation: string): DaemonError {
  const shown = text.length > 160 ? `${text.slice(0, 160)}…` : text;
  return new DaemonError("ERR_REQUEST", `Cannot read digest: it is '${shown}', ${expectation}`);
}
