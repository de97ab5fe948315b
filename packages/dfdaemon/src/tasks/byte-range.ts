import { DaemonError } from "../errors.ts";

/** Bytes `offset … offset + length` of a task's file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The value of an HTTP Range header as bytes of a file of `contentLength` bytes (RFC 9110, section 14.1.2): `bytes=A-B`, `bytes=A-`,
 * `bytes=-N`. One range only; an end beyond the file is cut to it.
 *
 * @throws {DaemonError} `ERR_RANGE` if it is malformed or starts beyond the file
 */
export function parseByteRange(value: string, contentLength: number): ByteRange {
  const match = /^bytes=(\d*)-(\d*)$/.exec(value.trim());
  if (match === null || (match[1] === "" && match[2] === "")) {
    throw new DaemonError(
      "ERR_RANGE",
      `Cannot read range: it is '${value}', expected 'bytes=A-B', 'bytes=A-' or 'bytes=-N'`,
    );
  }
  const [, first = "", last = ""] = match;
  if (first === "") {
    const length = Math.min(Number(last), contentLength);
    return clampByteRange({ offset: contentLength - length, length }, contentLength);
  }
  const offset = Number(first);
  const end = last === "" ? contentLength - 1 : Number(last);
  if (end < offset)
    throw new DaemonError(
      "ERR_RANGE",
      `Cannot read range: it is '${value}', the end lies before the start`,
    );
  return clampByteRange({ offset, length: end - offset + 1 }, contentLength);
}

/**
 * The part of `range` that lies within the file.
 *
 * @throws {DaemonError} `ERR_RANGE` if nothing of it does
 */
export function clampByteRange(range: ByteRange, contentLength: number): ByteRange {
  const { offset, length } = range;
  if (!Number.isSafeInteger(offset) || offset < 0 || !(length > 0) || offset >= contentLength) {
    throw new DaemonError(
      "ERR_RANGE",
      `Cannot read range: it is ${length} bytes from ${offset}, the file has ${contentLength} bytes`,
    );
  }
  return { offset, length: Math.min(length, contentLength - offset) };
}

/** Numbers of the pieces that hold any byte of `range`, ascending; all of them without a range. */
export function piecesOfRange(
  task: { readonly contentLength: number; readonly pieceLength: number },
  range?: ByteRange,
): number[] {
  const { contentLength, pieceLength } = task;
  if (contentLength === 0) return [];
  const first = range === undefined ? 0 : Math.floor(range.offset / pieceLength);
  const end =
    range === undefined ? contentLength : Math.min(range.offset + range.length, contentLength);
  const last = Math.ceil(end / pieceLength) - 1;
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}
