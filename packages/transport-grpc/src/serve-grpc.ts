import type { Socket } from "node:net";
import { AddressCounts } from "@damselfly/limits";
import {
  implementService,
  serveRpc,
  status,
  type StreamContext,
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
  const handler = new PieceHandler(source, limits);
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
    limits: {
      connectionCountMax: limits.connectionCountMax,
      connectionsPerAddressMax: limits.connectionsPerAddressMax,
      callCountMax: limits.requestCountMax + REFUSED_CALL_COUNT,
      callsPerAddressMax: limits.requestsPerAddressMax + REFUSED_CALL_COUNT / 2,
      messageLengthMax: REQUEST_LENGTH_MAX,
      stallMs: limits.stallMs,
      // A piece has two messages here at most, and so many pieces are served.
      untakenLengthMax: Infinity,
    },
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

/** Calls at once beyond the pieces that are served: each is answered as busy. */
const REFUSED_CALL_COUNT = 1024;
/** A request has some 90 bytes. */
const REQUEST_LENGTH_MAX = 4 * 1024;

const TAKES_TOO_LITTLE = "Cannot go on with the piece: too little of it is taken";

/** Answers one rpc, within limits on how many at once. */
class PieceHandler {
  readonly #source: PieceSource;
  readonly #requests: AddressCounts;

  constructor(source: PieceSource, limits: ServerLimits) {
    this.#source = source;
    const { requestCountMax: countMax, requestsPerAddressMax: perAddressMax } = limits;
    this.#requests = new AddressCounts({ countMax, perAddressMax });
  }

  async *downloadPiece(
    request: DownloadPieceRequest__Output,
    { signal, peerIp: childIp, giveUp }: StreamContext,
  ): AsyncGenerator<DownloadPieceResponse, void, undefined> {
    if (!TASK_ID.test(request.taskId)) throw status("INVALID_ARGUMENT", "task_id is no task id");
    const range = rangeOf(request);
    const excess = this.#requests.excess(childIp);
    if (excess !== undefined) {
      const whom = excess === "all" ? "" : " to this address";
      throw status(
        "RESOURCE_EXHAUSTED",
        `as many pieces as may be are being served${whom} already`,
      );
    }
    const release = this.#requests.add(childIp);
    let reader: PieceReader | undefined;
    try {
      const { taskId, pieceNumber } = request;
      reader = await this.#source.openPiece({ taskId, pieceNumber, range }, { signal, childIp });
      const { reclaimed } = reader;
      reclaimed?.addEventListener("abort", () => giveUp(status("UNAVAILABLE", TAKES_TOO_LITTLE)));
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
      release();
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
