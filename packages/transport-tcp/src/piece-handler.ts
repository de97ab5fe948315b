import { AddressCounts } from "@damselfly/limits";
import {
  clipByteRange,
  type PieceInfo,
  type PieceReader,
  type PieceRequest,
  type PieceSource,
  type Refusal,
  type RefusalCode,
  type ServerLimits,
  toRefusal,
  TransportError,
} from "@damselfly/transport";
import { encodePacket, ErrorCode, type Packet, Tag } from "@damselfly/vortex";
import type { TcpLogger } from "./logger.ts";
import { createPacketId } from "./packet-id.ts";
import type { Request } from "./request-reader.ts";

/** Where an answer goes. */
export interface AnswerSink {
  /** The child's address. */
  readonly ip: string;
  /** Aborts when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  /** From here on the child may close its half: Dragonfly's of old do. */
  announced(): void;
  /** Resolves when the bytes are the caller's again. @throws when the connection breaks */
  write(bytes: Uint8Array): Promise<void>;
  /** Nothing more goes there, and what was written is dropped. */
  cut(): void;
}

const TASK_ID = /^[0-9a-f]{64}$/;

const VORTEX_CODE_OF: Readonly<Record<RefusalCode, number>> = {
  ERR_PIECE_NOT_FOUND: ErrorCode.NotFound,
  ERR_PARENT_BUSY: ErrorCode.Busy,
  ERR_PARENT_FAILED: ErrorCode.Internal,
};

/** Answers requests, within limits on how many at once, over all connections and to one address. */
export class PieceHandler {
  readonly #source: PieceSource;
  readonly #requests: AddressCounts;
  readonly #logger: TcpLogger | undefined;
  #sentLength = 0;

  constructor(options: {
    readonly source: PieceSource;
    readonly limits: Pick<ServerLimits, "requestCountMax" | "requestsPerAddressMax">;
    readonly logger: TcpLogger | undefined;
  }) {
    this.#source = options.source;
    const { requestCountMax: countMax, requestsPerAddressMax: perAddressMax } = options.limits;
    this.#requests = new AddressCounts({ countMax, perAddressMax });
    this.#logger = options.logger;
  }

  /** Being answered at this moment. */
  get requestCount(): number {
    return this.#requests.count;
  }

  /** Content sent so far, in bytes. */
  get sentLength(): number {
    return this.#sentLength;
  }

  /**
   * Answers one request. Never rejects.
   *
   * @param sink.busy why nothing is served at present
   * @returns whether the connection can carry another answer
   */
  async answer(request: Request, sink: AnswerSink, busy?: string): Promise<boolean> {
    const reason = busy ?? this.#busyReason(sink.ip);
    if (reason !== undefined) {
      const message = `Cannot serve piece: ${reason}`;
      return await this.#refuse(request, sink, { code: "ERR_PARENT_BUSY", message });
    }
    const release = this.#requests.add(sink.ip);
    let isAnnounced = false;
    try {
      await using reader = await this.#open(request, sink);
      isAnnounced = true;
      reader.reclaimed?.addEventListener("abort", () => sink.cut(), { once: true });
      await this.#send(reader, request, sink);
      return true;
    } catch (error) {
      if (!sink.signal.aborted && !(error instanceof TransportError)) {
        const { taskId, pieceNumber } = request;
        this.#logger?.warn({ err: error, taskId, pieceNumber }, "Cannot serve a piece");
      }
      // What has been announced can only be cut off.
      if (isAnnounced || sink.signal.aborted) return false;
      return await this.#refuse(request, sink, toRefusal(error));
    } finally {
      release();
    }
  }

  #busyReason(ip: string): string | undefined {
    const excess = this.#requests.excess(ip);
    if (excess === undefined) return undefined;
    return excess === "all"
      ? `${this.requestCount} are being served already`
      : "as many as may be are being served to this address already";
  }

  async #open(request: Request, { signal, ip }: AnswerSink): Promise<PieceReader> {
    const { tag, taskId, pieceNumber } = request;
    // The other tags ask for kinds of task that nobody has here.
    const isStandard = tag === Tag.DownloadPiece || tag === Tag.DownloadPieceRange;
    if (!isStandard || !TASK_ID.test(taskId)) {
      throw new TransportError("ERR_PIECE_NOT_FOUND", "Cannot serve piece: there is no such task");
    }
    return await this.#source.openPiece(
      { taskId, pieceNumber, range: rangeOf(request) },
      { signal, childIp: ip },
    );
  }

  /**
   * Sends announcement and content. The last byte leaves only after the source has ended well: it may find at its very end that the
   * piece is damaged, and the child must not have taken it for complete by then.
   *
   * @throws {RangeError} if the source has more or fewer bytes
   */
  async #send({ piece, content }: PieceReader, request: Request, sink: AnswerSink): Promise<void> {
    const { length } = clipByteRange(rangeOf(request), piece.length);
    sink.announced();
    const announcing = sink.write(encodeAnnouncement(piece, request));
    let last: Uint8Array | undefined;
    let sent = 0;
    announcing.catch(() => undefined); // the next write says it too
    for await (const chunk of content) {
      sent += chunk.byteLength;
      if (sent > length) break;
      const isLast = sent === length && chunk.byteLength > 0;
      // The chunk's memory is the source's again afterwards.
      if (isLast) last = Uint8Array.of(chunk[chunk.byteLength - 1] ?? 0);
      const part = isLast ? chunk.subarray(0, -1) : chunk;
      if (part.byteLength > 0) await sink.write(part);
    }
    if (sent !== length) {
      const surplus = sent > length ? " or more" : "";
      throw new RangeError(
        `Cannot send piece: its source has ${sent} bytes${surplus}, expected were ${length}`,
      );
    }
    if (last !== undefined) await sink.write(last);
    await announcing;
    this.#sentLength += length;
  }

  async #refuse(request: Request, sink: AnswerSink, refusal: Refusal): Promise<boolean> {
    try {
      await sink.write(encodeRefusal(request, refusal));
      return true;
    } catch {
      return false; // the child has gone, and with it the need to be told
    }
  }
}

function rangeOf(request: Request): PieceRequest["range"] {
  if (request.kind !== "range-request") return undefined;
  const { offset, length } = request;
  return offset === 0 && length === Number.MAX_SAFE_INTEGER ? undefined : { offset, length };
}

/** Our own children are told in our words, Dragonfly's in those of their own daemon. */
function encodeRefusal(request: Request, { code, message }: Refusal): Uint8Array {
  const id = createPacketId();
  const { taskId, pieceNumber } = request;
  if (request.kind === "range-request") {
    return encodePacket({ kind: "error", id, tag: Tag.Error, code: VORTEX_CODE_OF[code], message });
  }
  const name = `piece ${taskId}-${pieceNumber}`;
  const isMissing = code === "ERR_PIECE_NOT_FOUND";
  return encodePacket({
    kind: "error",
    id,
    tag: Tag.Error,
    code: isMissing ? ErrorCode.NotFound : ErrorCode.Internal,
    message: isMissing ? `${name} not found` : `failed to get ${name}: ${message}`,
  });
}

/** A strong digest is for our own children. */
function encodeAnnouncement(piece: PieceInfo, request: Request): Uint8Array {
  const strongDigest = request.kind === "range-request" ? piece.strongDigest : undefined;
  return encodePacket({
    kind: "content",
    id: createPacketId(),
    tag: Tag.PieceContent,
    pieceNumber: piece.number,
    offset: piece.offset,
    length: piece.length,
    digest: piece.digest,
    ...(strongDigest && { strongDigest }),
    parentId: "",
    trafficType: 1,
    costSeconds: 0,
    createdAtSeconds: 0,
  } satisfies Packet);
}
