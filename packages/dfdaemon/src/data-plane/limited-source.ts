import { limitContent, type Reservation } from "@damselfly/limits";
import {
  clipByteRange,
  type PieceReader,
  type PieceRequest,
  type PieceSource,
  TransportError,
} from "@damselfly/transport";
import type { ContentLimits } from "./content-limits.ts";

/** What storage reads of a piece at once. */
const CHUNK_LENGTH_MAX = 512 * 1024;
/** The chunk itself, and what the transport has taken of it: encrypted, framed, or waiting for the child. */
const COPY_COUNT = 2;

/**
 * The same pieces, within limits: where there is no memory for one more it is answered as busy, and all of them together are read no
 * faster than they may go.
 */
export class LimitedSource implements PieceSource {
  readonly #source: PieceSource;
  readonly #limits: Pick<ContentLimits, "serving" | "upload">;

  constructor(source: PieceSource, limits: Pick<ContentLimits, "serving" | "upload">) {
    this.#source = source;
    this.#limits = limits;
  }

  async openPiece(
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceReader> {
    // Nothing is opened that would be refused; what waits for its piece to come takes no memory.
    this.#reserve(request, CHUNK_LENGTH_MAX).release();
    const reader = await this.#source.openPiece(request, options);
    let reservation: Reservation;
    try {
      const { length } = clipByteRange(request.range, reader.piece.length);
      reservation = this.#reserve(request, Math.min(length, CHUNK_LENGTH_MAX));
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      throw error;
    }
    const left = new AbortController();
    const stop =
      options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal]);
    return {
      piece: reader.piece,
      content: limitContent(reader.content, this.#limits.upload, {
        signal: stop,
        onEnd: () => reservation.release(),
      }),
      async [Symbol.asyncDispose]() {
        left.abort(new TransportError("ERR_CLOSED", "Cannot read piece: it was given up"));
        reservation.release();
        await reader[Symbol.asyncDispose]();
      },
    };
  }

  /** @throws {TransportError} `ERR_PARENT_BUSY` */
  #reserve({ pieceNumber }: PieceRequest, chunkLength: number): Reservation {
    const { serving } = this.#limits;
    const reservation = serving.tryReserve(COPY_COUNT * chunkLength);
    if (reservation !== undefined) return reservation;
    throw new TransportError(
      "ERR_PARENT_BUSY",
      `Cannot serve piece ${pieceNumber}: the pieces being served take ${serving.usedLength} bytes already, and no more may be taken`,
    );
  }
}
