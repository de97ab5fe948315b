import type { LocatedPiece, Storage } from "@damselfly/storage";
import type { PieceRequest } from "@damselfly/transport";
import type { PieceLocation } from "../protocol.ts";

/** Who counts what is served. */
export interface UploadObserver {
  pieceUploadStarted(): void;
  pieceUploadEnded(length: number): void;
}

/** The pieces that one data-plane process reads at this moment. Disposing it, when the process is gone, ends them all. */
export class PieceDesk implements Disposable {
  readonly #storage: Pick<Storage, "locatePiece">;
  readonly #observer: UploadObserver;
  readonly #leases = new Map<number, LocatedPiece>();
  #isClosed = false;

  constructor(options: {
    readonly storage: Pick<Storage, "locatePiece">;
    readonly observer: UploadObserver;
  }) {
    this.#storage = options.storage;
    this.#observer = options.observer;
  }

  async locate(
    { lease, request }: { readonly lease: number; readonly request: PieceRequest },
    signal: AbortSignal,
  ): Promise<PieceLocation> {
    const located = await this.#storage.locatePiece(request, { signal });
    if (this.#isClosed) {
      located.end(false);
      throw new RangeError(`Cannot lease piece ${request.pieceNumber}: nobody is there to read it`);
    }
    this.#leases.set(lease, located);
    this.#observer.pieceUploadStarted();
    const { piece, range, path, ino } = located;
    return { piece, range, path, ino };
  }

  async damaged({ lease }: { readonly lease: number }): Promise<void> {
    await this.#leases.get(lease)?.damaged();
  }

  ended({
    lease,
    delivered,
    length,
  }: {
    readonly lease: number;
    readonly delivered: boolean;
    readonly length: number;
  }): void {
    const located = this.#leases.get(lease);
    if (located === undefined) return;
    this.#leases.delete(lease);
    located.end(delivered);
    this.#observer.pieceUploadEnded(length);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const lease of this.#leases.keys()) this.ended({ lease, delivered: false, length: 0 });
  }
}
