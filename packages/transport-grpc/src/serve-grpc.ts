import type { Socket } from "node:net";
import {
  implementService,
  serveRpc,
  status,
  type CallContext,
  type DownloadPieceRequest__Output,
  type DownloadPieceResponse,
  type RpcLogger,
  type StatusName,
} from "@damselfly/rpc";
import {
  assertByteRange,
  type ByteRange,
  DEFAULT_SERVER_LIMITS,
  toRefusal,
  type PieceReader,
  type PieceServer,
  type PieceSource,
  type RefusalCode,
  type ServerAddress,
  type ServerLimits,
  type Tls,
} from "@damselfly/transport";
import { CONTENT_LENGTH_MAX, serializeResponse } from "./content-message.ts";

export interface ServeGrpcOptions {
  readonly source: PieceSource;
  /** An IP literal; port 0 picks a free one. */
  readonly address: ServerAddress;
  /** Somebody else listens there, and hands over what he accepts: see `take`. */
  readonly isHandedOver?: boolean | undefined;
  /** Over `DEFAULT_SERVER_LIMITS`. */
  readonly limits?: Partial<ServerLimits> | undefined;
  /** With it mutual TLS, without it plain. */
  readonly tls?: Tls | undefined;
  /** How long disposing waits for the pieces that run, in milliseconds; default 5,000. */
  readonly closeMs?: number | undefined;
  readonly logger?: RpcLogger | undefined;
}

export interface GrpcPieceServer extends PieceServer {
  /** Takes over a connection of which nothing has been read, as if it had been accepted here. */
  take(socket: Socket): void;
  /** Closes at once, without finishing anything. */
  abort(): Promise<void>;
}

/**
 * Serves pieces over gRPC.
 *
 * A piece takes at most two chunks of 256 KiB here, however slow the child: the next is read when flow control has
 * taken the last but one.
 *
 * @throws {ServeError} when it cannot listen there
 */
export async function serveGrpc(options: ServeGrpcOptions): Promise<GrpcPieceServer> {
  const { source, address, tls, closeMs, logger } = options;
  const limits = { ...DEFAULT_SERVER_LIMITS, ...options.limits };
  const handler = new PieceHandler(source, limits.requestCountMax);
  const server = await serveRpc({
    address,
    isHandedOver: options.isHandedOver,
    services: [
      implementService("damselfly.v1.PieceTransfer", handler, {
        serializers: { downloadPiece: serializeResponse },
      }),
    ],
    tls,
    logger,
    graceMs: closeMs,
    connectionCountMax: limits.connectionCountMax,
    // A child that vanished without a word gives its room back within a minute.
    channelOptions: { "grpc.keepalive_time_ms": 40_000, "grpc.keepalive_timeout_ms": 20_000 },
  });
  const bound = server.address;
  return {
    protocol: "grpc",
    address: "ip" in bound ? bound : address,
    take: (socket) => server.take(socket),
    abort: () => server.abort(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Answers one rpc, within a limit on how many at once. */
class PieceHandler {
  readonly #source: PieceSource;
  readonly #requestCountMax: number;
  #requestCount = 0;

  constructor(source: PieceSource, requestCountMax: number) {
    this.#source = source;
    this.#requestCountMax = requestCountMax;
  }

  async *downloadPiece(
    request: DownloadPieceRequest__Output,
    { signal }: CallContext,
  ): AsyncGenerator<DownloadPieceResponse, void, undefined> {
    if (!TASK_ID.test(request.taskId)) throw status("INVALID_ARGUMENT", "task_id is no task id");
    const range = rangeOf(request);
    if (this.#requestCount >= this.#requestCountMax) {
      throw status("RESOURCE_EXHAUSTED", `${this.#requestCount} pieces are being served already`);
    }
    this.#requestCount += 1;
    let reader: PieceReader | undefined;
    try {
      const { taskId, pieceNumber } = request;
      reader = await this.#source.openPiece({ taskId, pieceNumber, range }, { signal });
      yield { metadata: reader.piece };
      for await (const chunk of reader.content) {
        for (let start = 0; start < chunk.byteLength; start += CONTENT_LENGTH_MAX) {
          yield { content: chunk.subarray(start, start + CONTENT_LENGTH_MAX) };
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      const { code, message } = toRefusal(error);
      throw status(refusalStatus[code], message);
    } finally {
      this.#requestCount -= 1;
      await reader?.[Symbol.asyncDispose]();
    }
  }
}

function rangeOf({ range }: DownloadPieceRequest__Output): ByteRange | undefined {
  if (range === null) return undefined;
  try {
    assertByteRange(range);
  } catch {
    throw status("INVALID_ARGUMENT", "range is none");
  }
  return { offset: range.offset, length: range.length };
}

const TASK_ID = /^[0-9a-f]{64}$/;

const refusalStatus: Record<RefusalCode, StatusName> = {
  ERR_PIECE_NOT_FOUND: "NOT_FOUND",
  ERR_PARENT_BUSY: "RESOURCE_EXHAUSTED",
  ERR_PARENT_FAILED: "DATA_LOSS",
};
