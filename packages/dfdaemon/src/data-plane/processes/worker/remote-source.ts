import { ContentFiles, StorageError } from "@damselfly/storage";
import {
  TransportError,
  type OpenPieceOptions,
  type PieceReader,
  type PieceRequest,
  type PieceSource,
} from "@damselfly/transport";
import { countBytes } from "../../../count-bytes.ts";
import type { Link } from "../link/link.ts";
import type { ControlMethods, WorkerMethods } from "../protocol.ts";

/** How often a piece is looked for whose file has been replaced by the time it is opened. */
const ATTEMPTS_MAX = 5;

/** Serves pieces that the control process knows of: it says where they lie, and hears when nobody reads them any more. */
export class RemoteSource implements PieceSource {
  readonly #link: Link<ControlMethods, WorkerMethods>;
  readonly #files: ContentFiles;
  readonly #onBytes: (length: number) => void;
  #lastLease = 0;

  constructor(options: {
    readonly link: Link<ControlMethods, WorkerMethods>;
    readonly files: ContentFiles;
    /** Called with the length of each chunk that is handed on. */
    readonly onBytes: (length: number) => void;
  }) {
    this.#link = options.link;
    this.#files = options.files;
    this.#onBytes = options.onBytes;
  }

  async openPiece(request: PieceRequest, options: OpenPieceOptions = {}): Promise<PieceReader> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const reader = await this.#open(request, options.signal);
      if (reader !== undefined) return reader;
    }
    throw new TransportError(
      "ERR_PARENT_FAILED",
      `Cannot open piece ${request.pieceNumber}: its file is replaced each time`,
    );
  }

  /** Undefined: another file lies there. */
  async #open(
    request: PieceRequest,
    signal: AbortSignal | undefined,
  ): Promise<PieceReader | undefined> {
    const lease = ++this.#lastLease;
    const location = await this.#link.call("locate", { lease, request }, { signal });
    let length = 0;
    const reader = await this.#files
      .open({
        ...location,
        end: (delivered) => this.#link.note("ended", { lease, delivered, length }),
        damaged: () => this.#link.call("damaged", { lease }),
      })
      .catch((error: unknown) => {
        if (!(error instanceof StorageError)) throw error;
        throw new TransportError("ERR_PARENT_FAILED", error.message, { cause: error });
      });
    if (reader === undefined) return undefined;
    const content = countBytes(reader.content, (count) => {
      length += count;
      this.#onBytes(count);
    });
    return {
      piece: reader.piece,
      content,
      [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
    };
  }
}
