import {
  clipByteRange,
  type PieceInfo,
  type PieceRequest,
  TransportError,
} from "@damselfly/transport";
import { encodePacket, type Packet, Tag } from "@damselfly/vortex";
import { ConnectionLost } from "./connection-lost.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import { createPacketId } from "./packet-id.ts";
import type { Answer, ParentConnection, Target } from "./parent-connection.ts";
import { refusalOf } from "./refusal-of.ts";
import { RingBuffers } from "./ring-buffers.ts";

export interface AskContext {
  /** One of Dragonfly's: it knows no ranges. */
  readonly isForeign: boolean;
  /** First half of every message. */
  readonly what: string;
  /** Ends the wait. The answer is the caller's to cancel. */
  readonly signal: AbortSignal;
}

/** Puts requests to parents, each on a pooled connection that it has for itself. */
export class PieceAsker {
  readonly #pool: ConnectionPool;
  readonly #silenceMs: number;
  readonly #buffers = new RingBuffers();
  #repeatedCount = 0;

  /** @param options.silenceMs an idle connection on which nothing is answered for so long may have died unnoticed */
  constructor(pool: ConnectionPool, options: { readonly silenceMs: number }) {
    this.#pool = pool;
    this.#silenceMs = options.silenceMs;
  }

  /** Requests put a second time, because the connection was dead. */
  get repeatedCount(): number {
    return this.#repeatedCount;
  }

  /**
   * Asks for a piece. Once more on another connection if one that had been idle turns out to be dead, or says nothing:
   * the parent may have closed it at this moment, or be gone without a word.
   *
   * @throws {ConnectionLost | VortexError}
   * @throws {TransportError} what the parent refuses with; `ERR_PROTOCOL`
   * @throws the failure of a dial
   * @throws the signal's reason, when it aborts
   */
  async ask(target: Target, request: PieceRequest, context: AskContext): Promise<Answer> {
    const { signal } = context;
    for (let isRetry = false; ; isRetry = true) {
      const connection = await this.#pool.acquire(target, { isFresh: isRetry, signal });
      const wasUsed = connection.requestCount > 0;
      const mayBeStale = wasUsed && !isRetry;
      const timer = mayBeStale
        ? setTimeout(() => connection.close(SILENT), this.#silenceMs)
        : undefined;
      try {
        return await this.#askOn(connection, request, context);
      } catch (error) {
        signal.throwIfAborted();
        const isUnanswered = error instanceof ConnectionLost && error.isUnanswered;
        if (!isUnanswered || !mayBeStale) throw error;
        this.#repeatedCount += 1;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  async #askOn(
    connection: ParentConnection,
    request: PieceRequest,
    { isForeign, what, signal }: AskContext,
  ): Promise<Answer> {
    const onAbort = (): void => connection.close();
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await connection.ask({
        what,
        packet: encodeRequest(request, isForeign),
        accept: (answer) => {
          const piece = announcedBy(answer, request, what);
          const isCutHere = isForeign || request.range === undefined;
          // Throws for a range that begins beyond the end, whoever cuts it.
          const { length } = clipByteRange(request.range, piece.length);
          return { piece, length: isCutHere ? piece.length : length };
        },
        buffers: this.#buffers,
      });
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

const SILENT = new Error("nothing was answered");

/** Our own parents are asked with our own tag, so that they may answer in our own words. */
function encodeRequest(
  { taskId, pieceNumber, range }: PieceRequest,
  isForeign: boolean,
): Uint8Array {
  const id = createPacketId();
  if (isForeign) {
    return encodePacket({ kind: "request", id, tag: Tag.DownloadPiece, taskId, pieceNumber });
  }
  const { offset, length } = range ?? { offset: 0, length: Number.MAX_SAFE_INTEGER };
  const tag = Tag.DownloadPieceRange;
  return encodePacket({ kind: "range-request", id, tag, taskId, pieceNumber, offset, length });
}

function announcedBy(answer: Packet, { pieceNumber }: PieceRequest, what: string): PieceInfo {
  if (answer.kind === "error") throw refusalOf(answer, what);
  const isAnnouncement = answer.kind === "content" && answer.tag === Tag.PieceContent;
  if (!isAnnouncement || answer.pieceNumber !== pieceNumber) {
    throw new TransportError("ERR_PROTOCOL", `${what}: the answer is for something else`);
  }
  const { offset, length, digest, strongDigest } = answer;
  return { number: pieceNumber, offset, length, digest, ...(strongDigest && { strongDigest }) };
}
