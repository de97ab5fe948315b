import type { FileDigest, RequestedRange } from "./options.ts";

/** Every function here throws a RangeError whose message completes "Cannot read --flag: it is '…', ". */

/** `90s`, `1h30m`, `2 hours`, `500ms`: milliseconds, 1 ms to 24 days (the longest a Node timer can wait). Dragonfly's spellings. */
export function parseDuration(text: string): number {
  if (!/^(?:\d+\s*[a-z]+\s*)+$/.test(text))
    throw new RangeError("expected a number and a unit, such as 90s or 1h30m");
  let durationMs = 0;
  for (const [, count, unit = ""] of text.matchAll(/(\d+)\s*([a-z]+)/g)) {
    const found = DURATION_UNITS.find(([names]) => names.test(unit));
    if (found === undefined)
      throw new RangeError(`expected a unit such as s, m or h, not '${unit}'`);
    durationMs += Number(count) * found[1];
  }
  if (durationMs < 1 || durationMs > 24 * 86_400_000) throw new RangeError("expected 1ms to 24d");
  return durationMs;
}

const DURATION_UNITS: readonly (readonly [names: RegExp, ms: number])[] = [
  [/^(ms|msec|millis)$/, 1],
  [/^(s|secs?|seconds?)$/, 1_000],
  [/^(m|mins?|minutes?)$/, 60_000],
  [/^(h|hrs?|hours?)$/, 3_600_000],
  [/^(d|days?)$/, 86_400_000],
  [/^(w|wks?|weeks?)$/, 604_800_000],
];

/** `4mib`, `4 MiB`, `8388608`: bytes. `m` and `mb` are a million bytes, `mi` and `mib` are 1024 × 1024. */
export function parsePieceLength(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b?$/i.exec(text);
  if (match === null) throw new RangeError("expected a length such as 8mib");
  const [, count, prefix = "", binary] = match;
  const exponent = ["", "k", "m", "g", "t"].indexOf(prefix.toLowerCase());
  const length = Math.round(Number(count) * (binary ? 1024 : 1000) ** exponent);
  if (length < PIECE_LENGTH_MIN) throw new RangeError("expected at least 4mib");
  if (!Number.isSafeInteger(length)) throw new RangeError("expected less than 8 PiB");
  return length;
}

/** Dragonfly's least piece length; its scheduler refuses shorter ones. */
const PIECE_LENGTH_MIN = 4 * 1024 * 1024;

/** `A-B` (both included), `A-`, `-N`, with or without `bytes=` in front (RFC 9110, section 14.1.2). */
export function parseRange(text: string): RequestedRange {
  const match = /^(?:bytes=)?(\d*)-(\d*)$/.exec(text);
  const [, first = "", last = ""] = match ?? [];
  if (match === null || (first === "" && last === ""))
    throw new RangeError("expected A-B, A- or -N");
  if (![first, last].every((bound) => Number.isSafeInteger(Number(bound))))
    throw new RangeError("expected positions below 2^53");
  if (first === "") {
    if (Number(last) === 0) throw new RangeError("expected at least one byte");
    return { kind: "last", length: Number(last) };
  }
  if (last === "") return { kind: "from", offset: Number(first) };
  if (Number(last) < Number(first))
    throw new RangeError("expected an end that is not before the start");
  return { kind: "between", offset: Number(first), length: Number(last) - Number(first) + 1 };
}

/** `sha256:` with 64 hex digits, `sha512:` with 128, `crc32:` with a decimal number below 2^32. Hex comes back in lower case. */
export function parseDigest(text: string): FileDigest {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, Math.max(0, colon));
  const value = text.slice(colon + 1);
  switch (algorithm) {
    case "sha256":
    case "sha512": {
      const digits = algorithm === "sha256" ? 64 : 128;
      if (value.length !== digits || !/^[0-9a-f]+$/i.test(value))
        throw new RangeError(`expected ${digits} hex digits after '${algorithm}:'`);
      return { algorithm, value: value.toLowerCase() };
    }
    case "crc32":
      if (!/^\d{1,10}$/.test(value) || Number(value) > 0xff_ff_ff_ff)
        throw new RangeError("expected a decimal number below 2^32 after 'crc32:'");
      return { algorithm, value: String(Number(value)) };
    default:
      throw new RangeError("expected sha256:…, sha512:… or crc32:…");
  }
}

/** Scheme that the daemon fetches, a host, and a path that names a file. Returns the WHATWG-serialised form, which task ids are made from. */
export function parseDownloadUrl(text: string): string {
  if (!URL.canParse(text))
    throw new RangeError("expected an absolute URL such as https://example.com/file");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new RangeError(`expected http or https: '${url.protocol.slice(0, -1)}' is not supported`);
  }
  if (url.pathname.endsWith("/"))
    throw new RangeError("it names a directory: expected a file, HTTP has no list of directories");
  return url.href;
}

/** `Key: value`, a field name (RFC 9110, section 5.1) and a value without control characters. */
export function parseHeader(text: string): readonly [name: string, value: string] {
  const colon = text.indexOf(":");
  const name = text.slice(0, Math.max(0, colon)).trim();
  const value = text.slice(colon + 1).trim();
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw new RangeError("expected 'Key: value'");
  // oxlint-disable-next-line no-control-regex -- they are what is refused: a line break would add a header.
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value))
    throw new RangeError("expected a value without control characters");
  if (name.toLowerCase() === "range") throw new RangeError("expected --range for that");
  return [name, value];
}

/** A switch in the environment. */
export function parseSwitch(text: string): boolean {
  const value = text.toLowerCase();
  if (["1", "true", "yes", "on"].includes(value)) return true;
  if (["", "0", "false", "no", "off"].includes(value)) return false;
  throw new RangeError("expected true or false");
}
