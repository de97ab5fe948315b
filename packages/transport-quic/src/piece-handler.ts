import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { QuicConnection, QuicLogger, QuicStream } from "@damselfly/quic";
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
  TransportError,
  toRefusal,
  within,
} from "@damselfly/transport";
import { encodePacket, ErrorCode, type Packet, Tag, VortexError } from "@damselfly/vortex";
import { BegunPieces } from "./begun-pieces.ts";
import { StreamCode } from "./codes.ts";
import { createPacketId } from "./packet-id.ts";
import { readPacket } from "./read-packet.ts";
import type { RedialWatch } from "./redial-watch.ts";

/** A request is 74 bytes, sent at once. */
const REQUEST_MS = 10_000;

/** Between an announcement and the reset of a piece that fails at once. Long enough for a busy child to read it. */
const HEAD_START_MS = 100;

/** While it closes: between two looks whether a child has come for the rest of a piece. */
const LOOK_MS = 20;

/**
 * Requests served at once that came before the end of their handshake: anybody who has recorded such a flight can send
 * it again, as often as they like and from any address. More wait for the handshake, which they could not finish.
 */
const EARLY_REQUEST_COUNT_MAX = 64;

/** Streams to one address beyond the requests that are served, and half of those to all: each is answered as busy. Further ones are reset. */
export const REFUSED_STREAM_COUNT = 1024;

const TASK_ID = /^[0-9a-f]{64}$/;

const VORTEX_CODE_OF: Readonly<Record<RefusalCode, number>> = {
  ERR_PIECE_NOT_FOUND: ErrorCode.NotFound,
  ERR_PARENT_BUSY: ErrorCode.Busy,
  ERR_PARENT_FAILED: ErrorCode.Internal,
};

/** Answers requests, one a stream, within limits on how many at once, in all and to one address. */
export class PieceHandler {
  readonly #source: PieceSource;
  readonly #requests: AddressCounts;
  /** Answered as busy, or not asked anything on yet, included. */
  readonly #streams: AddressCounts;
  readonly #stallMs: number;
  readonly #requestMs: number;
  readonly #logger: QuicLogger | undefined;
  readonly #redialWatch: RedialWatch | undefined;
  #earlyRequestCount = 0;
  /** Requests being served, and what ends each. */
  readonly #running = new Map<Promise<void>, AbortController>();
  readonly #begun = new BegunPieces(() => performance.now());
  #isClosing = false;
  /** No rest of a piece is waited for any more. */
  #isCut = false;

  constructor(options: {
    readonly source: PieceSource;
    readonly limits: Pick<ServerLimits, "requestCountMax" | "requestsPerAddressMax" | "stallMs">;
    /** From a stream's first byte to its complete request, in milliseconds. */
    readonly requestMs?: number | undefined;
    readonly logger?: QuicLogger | undefined;
    /** Follows the connections on which something runs. */
    readonly redialWatch?: RedialWatch | undefined;
  }) {
    this.#source = options.source;
    const { requestCountMax, requestsPerAddressMax, stallMs } = options.limits;
    this.#requests = new AddressCounts({
      countMax: requestCountMax,
      perAddressMax: requestsPerAddressMax,
    });
    this.#streams = new AddressCounts({
      countMax: requestCountMax + 2 * REFUSED_STREAM_COUNT,
      perAddressMax: requestsPerAddressMax + REFUSED_STREAM_COUNT,
    });
    this.#stallMs = stallMs;
    this.#requestMs = options.requestMs ?? REQUEST_MS;
    this.#logger = options.logger;
    this.#redialWatch = options.redialWatch;
  }

  get requestCount(): number {
    return this.#running.size;
  }

  /**
   * Resolves when there is nothing more to do on the stream. Never rejects: what goes wrong is told to the child, or logged.
   *
   * @param busy why nothing is served on this connection
   */
  async serve(stream: QuicStream, connection: QuicConnection, busy?: string): Promise<void> {
    const { ip } = connection.remoteAddress;
    if (this.#streams.excess(ip) !== undefined) {
      stream.reset(StreamCode.Refused);
      stream.stopReading(StreamCode.Refused);
      return;
    }
    const release = this.#streams.add(ip);
    try {
      await this.#answer(stream, connection, busy);
    } catch (error) {
      stream.reset(error instanceof VortexError ? StreamCode.Protocol : StreamCode.Failed);
      stream.stopReading(StreamCode.Protocol);
      this.#logger?.debug({ err: error }, "Cannot answer a request for a piece");
    } finally {
      release();
    }
  }

  /** Takes no more requests but for the rest of pieces that have begun, and waits for what runs; after `ms` it is cut. */
  async finish(ms: number): Promise<void> {
    this.#isClosing = true;
    const finished = this.#finished();
    const expired = (): Error => new TransportError("ERR_CLOSED", "The server is closed");
    try {
      await within(finished, { ms, expired });
    } catch (error) {
      this.#isCut = true;
      for (const controller of this.#running.values()) controller.abort(error);
      await finished;
    }
  }

  async #finished(): Promise<void> {
    for (;;) {
      await Promise.all(this.#running.keys());
      if (this.#running.size > 0) continue;
      if (this.#isCut || this.#begun.expectedMs === 0) return;
      await setTimeout(LOOK_MS);
    }
  }

  async #answer(
    stream: QuicStream,
    connection: QuicConnection,
    busy: string | undefined,
  ): Promise<void> {
    const request = await within(readRequest(stream), {
      ms: this.#requestMs,
      expired: () => new VortexError("ERR_TRUNCATED", "Cannot read request: it did not come"),
    });
    if (this.#earlyRequestCount >= EARLY_REQUEST_COUNT_MAX) await connection.established;
    const { ip } = connection.remoteAddress;
    const reason = busy ?? this.#busyReason(ip, request);
    if (reason !== undefined) {
      const message = `Cannot serve piece: ${reason}`;
      await this.#taken(stream.end(encodeRefusal({ code: "ERR_PARENT_BUSY", message })));
      return;
    }
    const controller = new AbortController();
    const release = this.#requests.add(ip);
    const end = this.#begin(connection);
    const running = this.#run(stream, request, { controller, childIp: ip });
    this.#running.set(running, controller);
    await running.finally(() => {
      this.#running.delete(running);
      release();
      end();
    });
  }

  #busyReason(ip: string, request: PieceRequest): string | undefined {
    if (this.#isCut || (this.#isClosing && !this.#begun.has(ip, request))) return "it is closing";
    const excess = this.#requests.excess(ip);
    if (excess === undefined) return undefined;
    return excess === "all"
      ? `it serves ${this.requestCount} already`
      : "it serves as many to this address as may be already";
  }

  /** What is written is to be taken in time. @throws {TransportError} `ERR_PARENT_STALLED` */
  async #taken(writing: Promise<void>): Promise<void> {
    await within(writing, {
      ms: this.#stallMs,
      expired: () =>
        new TransportError(
          "ERR_PARENT_STALLED",
          `The child has taken nothing for ${this.#stallMs} ms`,
        ),
    });
  }

  #begin(connection: QuicConnection): () => void {
    const unwatch = this.#redialWatch?.begin(connection);
    const isEarly = connection.isEarly;
    if (isEarly) this.#earlyRequestCount++;
    return () => {
      if (isEarly) this.#earlyRequestCount--;
      unwatch?.();
    };
  }

  /** Never rejects. */
  async #run(
    stream: QuicStream,
    request: PieceRequest,
    options: { readonly controller: AbortController; readonly childIp: string },
  ): Promise<void> {
    const { controller, childIp } = options;
    const { signal } = controller;
    void stream.closed.then((error) => {
      if (error !== undefined) controller.abort(error);
    });
    let announcedAt: number | undefined;
    try {
      await using reader = await this.#source.openPiece(request, { signal, childIp });
      reader.reclaimed?.addEventListener("abort", () => controller.abort(reader.reclaimed?.reason));
      announcedAt = performance.now();
      const { length } = clipByteRange(request.range, reader.piece.length);
      this.#begun.note(childIp, request, reader.piece.length);
      const sending = this.#send(stream, reader, length);
      await unlessAborted(sending, signal, () => stream.reset(StreamCode.Closing));
      this.#begun.note(childIp, request, reader.piece.length);
    } catch (error) {
      this.#begun.forget(childIp, request);
      if (signal.aborted) stream.reset(StreamCode.Closing);
      else if (announcedAt === undefined) await refuse(stream, error);
      else await failLate(stream, announcedAt);
      if (!signal.aborted && !(error instanceof TransportError)) {
        this.#logger?.warn({ err: error, ...request }, "Cannot serve a piece");
      }
    }
  }

  /**
   * Sends announcement and content, which is `length` bytes. The last byte leaves only after the source has ended well: it may find at its
   * very end that the piece is damaged, and the child must not have taken it for complete by then.
   *
   * @throws {RangeError} if the source has more or fewer bytes
   */
  async #send(stream: QuicStream, { piece, content }: PieceReader, length: number): Promise<void> {
    const announcement = encodeAnnouncement(piece);
    let last = announcement;
    if (length > 0) await this.#taken(stream.write(announcement));
    let sent = 0;
    for await (const chunk of content) {
      sent += chunk.byteLength;
      if (sent > length) break;
      if (sent < length) {
        await this.#taken(stream.write(chunk));
      } else if (chunk.byteLength > 0) {
        await this.#taken(stream.write(chunk.subarray(0, -1)));
        last = Uint8Array.of(chunk[chunk.byteLength - 1] ?? 0); // the chunk's memory is the source's again
      }
    }
    if (sent !== length) {
      const surplus = sent > length ? " or more" : "";
      throw new RangeError(
        `Cannot send piece: its source has ${sent} bytes${surplus}, expected were ${length}`,
      );
    }
    await this.#taken(stream.end(last));
  }
}

async function readRequest(stream: QuicStream): Promise<PieceRequest> {
  const { packet, rest } = await readPacket(stream);
  const isRange = packet.kind === "range-request";
  if (!(isRange || (packet.kind === "request" && packet.tag === Tag.DownloadPiece))) {
    throw new VortexError("ERR_VALUE", `Cannot serve a ${packet.kind} with tag ${packet.tag}`);
  }
  const { taskId, pieceNumber } = packet;
  // The end may come later than the bytes, but nothing else.
  if (rest.byteLength > 0 || (await stream.read(new Uint8Array(1))) > 0) {
    throw new VortexError("ERR_VALUE", "Cannot serve piece: more follows");
  }
  if (!TASK_ID.test(taskId)) throw new VortexError("ERR_VALUE", "Cannot serve piece: no task id");
  if (!isRange) return { taskId, pieceNumber };
  const { offset, length } = packet;
  if (length === 0) throw new VortexError("ERR_VALUE", "Cannot serve piece: none of it is asked");
  return { taskId, pieceNumber, range: { offset, length } };
}

/** Waits for `work`, but ends `stream` under it when the signal aborts, which makes the wait short. */
async function unlessAborted(
  work: Promise<void>,
  signal: AbortSignal,
  onAbort: () => void,
): Promise<void> {
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await work;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Resets an announced piece, but not so soon that the announcement goes with it: a reset makes the other side drop
 * what it has not read yet.
 */
async function failLate(stream: QuicStream, announcedAt: number): Promise<void> {
  const headStartMs = announcedAt + HEAD_START_MS - performance.now();
  if (headStartMs > 0) await setTimeout(headStartMs);
  stream.reset(StreamCode.Failed);
}

async function refuse(stream: QuicStream, error: unknown): Promise<void> {
  try {
    await stream.end(encodeRefusal(toRefusal(error)));
  } catch {
    // The child has gone, and with it the need to be told.
    stream.reset(StreamCode.Failed);
  }
}

function encodeRefusal({ code, message }: Refusal): Uint8Array {
  return encodePacket({
    kind: "error",
    id: createPacketId(),
    tag: Tag.Error,
    code: VORTEX_CODE_OF[code],
    message,
  } satisfies Packet);
}

function encodeAnnouncement(piece: PieceInfo): Uint8Array {
  return encodePacket({
    kind: "content",
    id: createPacketId(),
    tag: Tag.PieceContent,
    pieceNumber: piece.number,
    offset: piece.offset,
    length: piece.length,
    digest: piece.digest,
    ...(piece.strongDigest && { strongDigest: piece.strongDigest }),
    parentId: "",
    trafficType: 1,
    costSeconds: 0,
    createdAtSeconds: 0,
  } satisfies Packet);
}
