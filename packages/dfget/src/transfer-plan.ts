import { DfgetError } from "./errors.ts";
import type { RequestedRange } from "./options.ts";

/** Bytes `offset … offset + length`. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** What is going to arrive. */
export interface TransferPlan extends Span {
  /** Bytes of the entire file. `offset` and `length` are the part of it that was asked for. */
  readonly contentLength: number;
  /** By piece number: which bytes of the *output* the piece fills, and where in the piece they start. */
  readonly pieces: ReadonlyMap<number, PieceShare>;
}

export interface PieceShare extends Span {
  /** Bytes of the piece, which may begin before the range and end after it. */
  readonly pieceLength: number;
  /** Bytes of the piece that lie before the range. */
  readonly skip: number;
}

/**
 * Checks that the announced pieces cover what was asked for without gap or overlap: once each has arrived, so has every byte.
 *
 * @throws {DfgetError} `ERR_PROTOCOL` if they do not, `ERR_RANGE` if no byte of the range lies in the file
 */
export function planTransfer(
  started: {
    readonly contentLength: number;
    readonly pieces: readonly (Span & { readonly number: number })[];
  },
  range: RequestedRange | undefined,
): TransferPlan {
  const { contentLength } = started;
  if (!Number.isSafeInteger(contentLength) || contentLength < 0)
    throw protocolError(`the file is said to have ${contentLength} bytes`);
  const wanted = resolveRange(range, contentLength);
  const wantedEnd = wanted.offset + wanted.length;

  const pieces = new Map<number, PieceShare>();
  let covered = wanted.offset;
  for (const { number, offset, length } of started.pieces.toSorted(
    (left, right) => left.offset - right.offset,
  )) {
    const end = offset + length;
    if (
      ![number, offset, length, end].every((each) => Number.isSafeInteger(each) && each >= 0) ||
      end > contentLength
    ) {
      throw protocolError(
        `piece ${number} is said to have ${length} bytes from ${offset} of ${contentLength}`,
      );
    }
    const from = Math.max(offset, wanted.offset);
    const to = Math.min(end, wantedEnd);
    if (to <= from) continue;
    if (from !== covered)
      throw protocolError(`piece ${number} starts at ${from}, where ${covered} was expected`);
    if (pieces.has(number)) throw protocolError(`piece ${number} is announced twice`);
    covered = to;
    pieces.set(number, {
      offset: from - wanted.offset,
      length: to - from,
      pieceLength: length,
      skip: from - offset,
    });
  }
  if (covered !== wantedEnd)
    throw protocolError(`the announced pieces end at ${covered} of ${wantedEnd}`);
  return { contentLength, ...wanted, pieces };
}

/**
 * The bytes that a range asks for in a file of this length; an end beyond the file is cut to it.
 *
 * @throws {DfgetError} `ERR_RANGE` if it lies outside
 */
export function resolveRange(range: RequestedRange | undefined, contentLength: number): Span {
  if (range === undefined) return { offset: 0, length: contentLength };
  const offset = range.kind === "last" ? Math.max(0, contentLength - range.length) : range.offset;
  if (offset >= contentLength) {
    throw new DfgetError(
      "ERR_RANGE",
      `Cannot download the range: it starts at byte ${offset}, the file has ${contentLength} bytes`,
    );
  }
  const length =
    range.kind === "between"
      ? Math.min(range.length, contentLength - offset)
      : contentLength - offset;
  return { offset, length };
}

function protocolError(what: string): DfgetError {
  return new DfgetError("ERR_PROTOCOL", `Cannot follow the daemon: ${what}`);
}
