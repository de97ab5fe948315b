import { type ByteRange, clipByteRange } from "../byte-range.ts";
import { TransportError } from "../errors.ts";
import type {
  OpenPieceOptions,
  PieceInfo,
  PieceReader,
  PieceRequest,
  PieceSource,
} from "../transport.ts";
import { createGate } from "./gate.ts";
import { within } from "../within.ts";

export const TASK_ID: string = "0123456789abcdef".repeat(4);

/** How a piece behaves; all but its length has a default. */
export interface SyntheticPiece {
  /** The announced length, in bytes. */
  readonly length: number;
  /** Bytes the content really has; default: `length`. */
  readonly contentLength?: number;
  /** Bytes a chunk; default 64 KiB. */
  readonly chunkLength?: number;
  readonly offset?: number;
  readonly digest?: string;
  readonly strongDigest?: string;
  /** `openPiece` waits for this: the piece is still arriving. */
  readonly arrival?: Promise<unknown>;
  /** `openPiece` throws this. */
  readonly refusal?: Error;
  /** Reading throws this at `failAt` bytes. */
  readonly failure?: Error;
  readonly failAt?: number;
  /** Reading waits at `pauseAt` bytes, and at every chunk from there on, for what `pause` returns. */
  readonly pause?: () => Promise<unknown>;
  readonly pauseAt?: number;
  /** Aborts when what the piece holds is wanted for others. */
  readonly reclaimed?: AbortSignal;
}

/**
 * A piece source without a disk: content is computed, and everything a transport does with it is counted.
 *
 * It is as strict as its contract allows: the memory of a chunk is overwritten as soon as the next one is asked for.
 */
export class SyntheticSource implements PieceSource {
  /** `openPiece` calls so far, and those that still wait. */
  requestCount = 0;
  openingCount = 0;
  /** Readers handed out and not yet freed. */
  openCount = 0;
  /** The addresses of children, as far as servers told them. */
  readonly childIps: Set<string> = new Set();
  /** Content bytes given out so far. */
  pulledLength = 0;
  readonly #pieces = new Map<number, SyntheticPiece>();
  readonly #watchers = new Set<() => void>();

  add(pieceNumber: number, piece: SyntheticPiece): PieceRequest {
    this.#pieces.set(pieceNumber, piece);
    return { taskId: TASK_ID, pieceNumber };
  }

  info(pieceNumber: number): PieceInfo {
    const piece = this.#pieces.get(pieceNumber);
    if (piece === undefined) throw new RangeError(`No piece ${pieceNumber} was added`);
    const { length, offset = 0, digest = `crc32:${pieceNumber}`, strongDigest } = piece;
    return { number: pieceNumber, offset, length, digest, ...(strongDigest && { strongDigest }) };
  }

  async openPiece(request: PieceRequest, options: OpenPieceOptions = {}): Promise<PieceReader> {
    const { signal, childIp } = options;
    if (childIp !== undefined) this.childIps.add(childIp);
    const piece = request.taskId === TASK_ID ? this.#pieces.get(request.pieceNumber) : undefined;
    this.#note(() => {
      this.requestCount += 1;
      this.openingCount += 1;
    });
    try {
      signal?.throwIfAborted();
      if (piece === undefined) {
        throw new TransportError("ERR_PIECE_NOT_FOUND", "Cannot open piece: there is none");
      }
      if (piece.refusal !== undefined) throw piece.refusal;
      await unlessAborted(piece.arrival ?? Promise.resolve(), signal);
    } finally {
      this.#note(() => (this.openingCount -= 1));
    }
    const range = clipByteRange(request.range, piece.length);
    return this.#read(request.pieceNumber, piece, { range, signal });
  }

  /** Waits until `condition` holds; it is looked at whenever something happens here. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const held = createGate();
    const look = (): void => {
      if (condition()) held.open();
    };
    this.#watchers.add(look);
    look();
    const expired = (): Error => new Error(`Waited in vain until ${what}: ${this.#state()}`);
    try {
      await within(held.opened, { ms: 10_000, expired });
    } finally {
      this.#watchers.delete(look);
    }
  }

  /** Waits until no reader is open and no `openPiece` waits. */
  async untilFree(): Promise<void> {
    const free = (): boolean => this.openCount === 0 && this.openingCount === 0;
    await this.until(free, "every reader is freed");
  }

  #read(
    pieceNumber: number,
    piece: SyntheticPiece,
    { range, signal }: { readonly range: ByteRange; readonly signal: AbortSignal | undefined },
  ): PieceReader {
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    let open = true;
    const free = (): void => {
      signal?.removeEventListener("abort", onAbort);
      stop.abort(new TransportError("ERR_CLOSED", "Cannot read piece: it was freed"));
      if (open) this.#note(() => (this.openCount -= 1));
      open = false;
    };
    this.#note(() => (this.openCount += 1));
    return {
      piece: this.info(pieceNumber),
      content: this.#content(pieceNumber, piece, { range, signal: stop.signal, free }),
      ...(piece.reclaimed === undefined ? {} : { reclaimed: piece.reclaimed }),
      async [Symbol.asyncDispose]() {
        free();
      },
    };
  }

  async *#content(
    pieceNumber: number,
    piece: SyntheticPiece,
    {
      range,
      signal,
      free,
    }: { readonly range: ByteRange; readonly signal: AbortSignal; readonly free: () => void },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { length, contentLength: allLength = length, chunkLength = 65_536 } = piece;
    const rangeEnd = range.offset + range.length;
    // Content that is longer than announced shows at the end of the piece.
    const contentLength = rangeEnd === length ? allLength : Math.min(allLength, rangeEnd);
    const { failAt = Infinity, pauseAt = Infinity } = piece;
    const chunk = new Uint8Array(chunkLength);
    try {
      for (let position = range.offset; position < contentLength;) {
        if (position >= failAt) throw piece.failure ?? new Error("Cannot read piece: bad disk");
        if (position >= pauseAt) await unlessAborted(piece.pause?.(), signal);
        signal.throwIfAborted();
        const event = Math.min(...[failAt, pauseAt].filter((at) => at > position), contentLength);
        const bytes = chunk.subarray(0, Math.min(chunkLength, event - position));
        fillContent(bytes, pieceNumber, position);
        position += bytes.byteLength;
        this.#note(() => (this.pulledLength += bytes.byteLength));
        yield bytes;
        bytes.fill(0xee);
      }
      if (contentLength >= failAt) throw piece.failure ?? new Error("Cannot read piece: bad disk");
    } finally {
      free();
    }
  }

  #note(change: () => unknown): void {
    change();
    for (const look of this.#watchers) look();
  }

  #state(): string {
    return `${this.requestCount} requested, ${this.openingCount} opening, ${this.openCount} open, ${this.pulledLength} bytes read`;
  }
}

/** Fills `bytes` with what the piece holds from `position` on. */
export function fillContent(bytes: Uint8Array, pieceNumber: number, position: number): void {
  for (let filled = 0; filled < bytes.byteLength;) {
    const start = (position + filled + pieceNumber * 7_919) % PATTERN.byteLength;
    const part = PATTERN.subarray(start, start + bytes.byteLength - filled);
    bytes.set(part, filled);
    filled += part.byteLength;
  }
}

/** Repeats after a prime number of bytes: a block that is lost, doubled or moved by a power of two shows. */
const PATTERN: Uint8Array = Uint8Array.from({ length: 131_071 }, (_, index) => {
  const mixed = Math.imul(index + 1, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) & 0xff;
});

function forgotten(): Error {
  return new Error("The conformance suite forgot to open a gate");
}

async function unlessAborted(
  work: Promise<unknown> | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (work === undefined) return;
  await within(work, { ms: 60_000, signal, expired: forgotten });
}
