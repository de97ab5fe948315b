import { clipByteRange, type PieceRequest } from "@damselfly/transport";

/** A child asks for the next range of a piece while it reads the last of the one before: so soon, or it has left. Milliseconds. */
const NEXT_RANGE_MS = 2_000;
/** One more forgets the one that nobody has asked for for longest. */
const COUNT_MAX = 10_000;

interface Begun {
  /** When a range of it began to be sent, or had been sent. */
  readonly atMs: number;
  /** The range that ends it has been asked for. */
  readonly hasEnd: boolean;
}

/**
 * Pieces that children take in ranges, one after the other. Between two of them nothing runs, and yet the piece is on its way: who closes
 * waits for it.
 */
export class BegunPieces {
  readonly #now: () => number;
  /** By child and piece; the one that was asked for last is the last one. */
  readonly #begun = new Map<string, Begun>();

  /** @param now milliseconds, from anywhere */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A range begins to be sent to this address, or has been sent. @param length of the piece, in bytes */
  note(childIp: string, request: PieceRequest, length: number): void {
    const key = keyOf(childIp, request);
    const { offset, length: rangeLength } = clipByteRange(request.range, length);
    const isEnd = offset + rangeLength === length;
    const before = this.#begun.get(key);
    // Most pieces are of one range.
    if (isEnd && before === undefined) return;
    this.#begun.delete(key);
    this.#begun.set(key, { atMs: this.#now(), hasEnd: isEnd || before?.hasEnd === true });
    const [oldest] = this.#begun.keys();
    if (this.#begun.size > COUNT_MAX && oldest !== undefined) this.#begun.delete(oldest);
  }

  /** The child wants no more of it. */
  forget(childIp: string, request: PieceRequest): void {
    this.#begun.delete(keyOf(childIp, request));
  }

  /** Whether this is one more range of a piece that the child has begun with. */
  has(childIp: string, request: PieceRequest): boolean {
    return request.range !== undefined && this.#begun.has(keyOf(childIp, request));
  }

  /** How long a next range may still be expected, of any piece. Milliseconds; 0: none is. */
  get expectedMs(): number {
    const nowMs = this.#now();
    let expectedMs = 0;
    for (const { atMs, hasEnd } of this.#begun.values()) {
      if (!hasEnd) expectedMs = Math.max(expectedMs, atMs + NEXT_RANGE_MS - nowMs);
    }
    return expectedMs;
  }
}

function keyOf(childIp: string, { taskId, pieceNumber }: PieceRequest): string {
  return `${childIp} ${taskId} ${pieceNumber}`;
}
