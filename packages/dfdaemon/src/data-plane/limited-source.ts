import { limitContent, type Reservation, toAddressGroup } from "@damselfly/limits";
import {
  clipByteRange,
  type OpenPieceOptions,
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

/** Of the memory for what is served, what goes to one address at most: so that no host keeps all others out. */
const ADDRESS_SHARE = 1 / 2;

/** A child that takes no chunk for so long is cut off when others want its memory: 512 KiB take it less, at 64 KiB/s. Milliseconds. */
const PATIENCE_MS = 10_000;

/** A piece that is being served. */
interface Serving {
  readonly address: string;
  readonly length: number;
  readonly reservation: Reservation;
  readonly reclaim: AbortController;
}

/**
 * The same pieces, within limits: all of them together are read no faster than they may go. Where there is no memory for one more, the
 * child that has taken nothing for longest loses its piece, if that is long; otherwise the new one is answered as busy.
 */
export class LimitedSource implements PieceSource {
  readonly #source: PieceSource;
  readonly #limits: Pick<ContentLimits, "serving" | "servingLengthMax" | "upload" | "clock">;
  /** Those whose child does not ask for more, with the time since; the first for longest. */
  readonly #waiting = new Map<Serving, number>();
  readonly #lengths = new Map<string, number>();

  constructor(
    source: PieceSource,
    limits: Pick<ContentLimits, "serving" | "servingLengthMax" | "upload" | "clock">,
  ) {
    this.#source = source;
    this.#limits = limits;
  }

  async openPiece(request: PieceRequest, options: OpenPieceOptions = {}): Promise<PieceReader> {
    const { childIp = "" } = options;
    const address = childIp === "" ? "" : toAddressGroup(childIp);
    // Nothing is opened that would be refused; what waits for its piece to come takes no memory.
    this.#release(this.#reserve(request, { address, chunkLength: CHUNK_LENGTH_MAX }));
    const reader = await this.#source.openPiece(request, options);
    let serving: Serving;
    try {
      const { length } = clipByteRange(request.range, reader.piece.length);
      const chunkLength = Math.min(length, CHUNK_LENGTH_MAX);
      serving = this.#reserve(request, { address, chunkLength });
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      throw error;
    }
    const left = new AbortController();
    const stop =
      options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal]);
    const content = limitContent(reader.content, this.#limits.upload, {
      signal: stop,
      onEnd: () => this.#release(serving),
    });
    return {
      piece: reader.piece,
      content: this.#watch(content, serving),
      reclaimed: serving.reclaim.signal,
      [Symbol.asyncDispose]: async () => {
        left.abort(new TransportError("ERR_CLOSED", "Cannot read piece: it was given up"));
        this.#release(serving);
        await reader[Symbol.asyncDispose]();
      },
    };
  }

  /** Notes since when the child asks for nothing. */
  #watch(
    content: AsyncIterableIterator<Uint8Array, undefined>,
    serving: Serving,
  ): AsyncIterableIterator<Uint8Array, undefined> {
    const rest = (): void => {
      if (serving.reservation.length > 0) this.#waiting.set(serving, this.#limits.clock.now());
    };
    rest();
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => {
        this.#waiting.delete(serving);
        return content.next().then((result) => {
          rest();
          return result;
        });
      },
      return: () => content.return?.() ?? Promise.resolve({ done: true, value: undefined }),
    };
  }

  /** @throws {TransportError} `ERR_PARENT_BUSY` */
  #reserve(
    { pieceNumber }: PieceRequest,
    { address, chunkLength }: { readonly address: string; readonly chunkLength: number },
  ): Serving {
    const { serving } = this.#limits;
    const length = COPY_COUNT * chunkLength;
    for (;;) {
      const isOwnFault = !this.#hasShare(address, length);
      const reservation = isOwnFault ? undefined : serving.tryReserve(length);
      if (reservation !== undefined) {
        this.#lengths.set(address, this.#lengthOf(address) + length);
        return { address, length, reservation, reclaim: new AbortController() };
      }
      if (this.#reclaimOne(isOwnFault ? address : undefined)) continue;
      const where = isOwnFault ? " to this address" : "";
      throw new TransportError(
        "ERR_PARENT_BUSY",
        `Cannot serve piece ${pieceNumber}: the pieces being served${where} take ${isOwnFault ? this.#lengthOf(address) : serving.usedLength} bytes already, and no more may be taken`,
      );
    }
  }

  #hasShare(address: string, length: number): boolean {
    const held = this.#lengthOf(address);
    if (address === "" || held === 0) return true;
    return held + length <= this.#limits.servingLengthMax * ADDRESS_SHARE;
  }

  #lengthOf(address: string): number {
    return this.#lengths.get(address) ?? 0;
  }

  /** Cuts off who has taken nothing for longest, of this address or of all. False: nobody has done so for long. */
  #reclaimOne(address: string | undefined): boolean {
    const before = this.#limits.clock.now() - PATIENCE_MS;
    for (const [serving, since] of this.#waiting) {
      if (since > before) return false;
      if (address !== undefined && serving.address !== address) continue;
      this.#release(serving);
      const seconds = PATIENCE_MS / 1000;
      serving.reclaim.abort(
        new TransportError("ERR_PARENT_STALLED", `The child has taken nothing for ${seconds} s`),
      );
      return true;
    }
    return false;
  }

  #release(serving: Serving): void {
    if (serving.reservation.length === 0) return;
    this.#waiting.delete(serving);
    serving.reservation.release();
    const rest = this.#lengthOf(serving.address) - serving.length;
    if (rest > 0) this.#lengths.set(serving.address, rest);
    else this.#lengths.delete(serving.address);
  }
}
