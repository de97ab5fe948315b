import { QuicError, type QuicStream } from "@damselfly/quic";
import {
  type ByteRange,
  type DownloaderTimeouts,
  type PieceInfo,
  type PieceRequest,
  TransportError,
  within,
} from "@damselfly/transport";
import { encodePacket, Tag } from "@damselfly/vortex";
import { StreamCode } from "./codes.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import type { Target } from "./dialler.ts";
import { createPacketId } from "./packet-id.ts";
import type { Lease } from "./pooled-connection.ts";
import { readPacket } from "./read-packet.ts";
import { refusalOf } from "./refusal-of.ts";

/** A piece announced in answer to a request for some of its bytes, and the stream that they come on. */
export interface Answer {
  readonly piece: PieceInfo;
  readonly stream: QuicStream;
  /** Content that came with the announcement. */
  readonly rest: Uint8Array;
  /** Frees stream and connection; `isDone`: all of the answer has been read. */
  free(isDone: boolean): void;
}

export interface RangeRequest extends PieceRequest {
  readonly range: ByteRange;
}

/** How a request is called in messages, and what ends the wait for its answer. */
export interface AskContext {
  readonly what: string;
  readonly signal: AbortSignal;
}

/** Connections tried for one request, if one after the other breaks under it. */
const ATTEMPT_COUNT_MAX = 3;

/** Puts requests to parents, each on a pooled connection and a stream of its own. */
export class PieceAsker {
  readonly #pool: ConnectionPool;
  readonly #timeouts: DownloaderTimeouts;

  constructor(pool: ConnectionPool, timeouts: DownloaderTimeouts) {
    this.#pool = pool;
    this.#timeouts = timeouts;
  }

  /**
   * Asks for a range; once more on another connection, if one breaks before there is an answer.
   *
   * @throws {QuicError | VortexError}
   * @throws {TransportError} what the parent refuses with; `ERR_PROTOCOL`, `ERR_PARENT_STALLED`, `ERR_PARENT_UNREACHABLE`,
   *   `ERR_PARENT_UNTRUSTED`
   * @throws the signal's reason, when it aborts
   */
  async ask(target: Target, request: RangeRequest, context: AskContext): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const lease = await this.#acquire(target, request.range.length, context);
      try {
        return await this.#askOn(lease, request, context);
      } catch (error) {
        const isBroken =
          error instanceof SilentConnection ||
          isConnectionLost(error) ||
          isStreamLimit(error) ||
          // Of a connection that was used before its handshake was over, while others prove that the parent lives.
          (isDialTimeout(error) && this.#pool.isConnected(target));
        if (!isBroken || attempt === ATTEMPT_COUNT_MAX || context.signal.aborted) throw error;
      }
    }
  }

  async #acquire(target: Target, length: number, { what, signal }: AskContext): Promise<Lease> {
    const acquiring = this.#pool.acquire(target, length);
    try {
      return await within(acquiring, {
        ms: 2 * this.#timeouts.connectMs, // the dial has its own bound; this one never comes first
        signal,
        expired: () =>
          new TransportError("ERR_PARENT_UNREACHABLE", `${what}: no connection in time`),
      });
    } catch (error) {
      // Others may wait for the same dial: it goes on, and what comes of it stays in the pool.
      acquiring.then(
        (lease) => lease.release("done"),
        () => undefined,
      );
      throw error;
    }
  }

  /** Sends the request and waits for its answer. Frees stream and lease if it is not an announcement. */
  async #askOn(lease: Lease, request: RangeRequest, context: AskContext): Promise<Answer> {
    const { what, signal } = context;
    const { announceMs, connectMs } = this.#timeouts;
    let stream: QuicStream | undefined;
    let isAnswered = false;
    try {
      stream = lease.connection.openStream();
      const silence = lease.wasIdle ? watchForSilence(lease, connectMs) : undefined;
      const answering = trustedAnswerTo(stream, request, lease.trusted);
      const answer = await within(
        silence === undefined ? answering : Promise.race([answering, silence.noticed]),
        {
          ms: announceMs,
          signal,
          expired: () => {
            lease.retire(); // whoever asks next may be luckier on a new connection
            return new TransportError(
              "ERR_PARENT_STALLED",
              `${what}: nothing came in ${announceMs} ms`,
            );
          },
        },
      ).finally(() => silence?.stop());
      isAnswered = true;
      return { ...toAnnounced(answer, request, what), stream, free: freeing(stream, lease) };
    } catch (error) {
      if (isStreamLimit(error)) lease.retire(); // requests that came to nothing have used its credit up
      stream?.stopReading(StreamCode.Cancelled);
      stream?.reset(StreamCode.Cancelled);
      lease.release(isAnswered ? "done" : "abandoned");
      throw error;
    }
  }
}

/** Whether it was the connection that broke, and another one may do. */
export function isConnectionLost(error: unknown): boolean {
  return error instanceof QuicError && error.code === "ERR_CONNECTION_LOST";
}

function isStreamLimit(error: unknown): boolean {
  return error instanceof QuicError && error.code === "ERR_STREAM_LIMIT";
}

function isDialTimeout(error: unknown): boolean {
  return error instanceof QuicError && error.code === "ERR_DIAL_TIMEOUT";
}

/** What came with the first flight counts once its sender is known: that takes no longer than the flight. */
async function trustedAnswerTo(
  stream: QuicStream,
  request: RangeRequest,
  trusted: Promise<void>,
): ReturnType<typeof readPacket> {
  try {
    return await answerTo(stream, request);
  } finally {
    await trusted; // if it failed, that is why there is no answer
  }
}

async function answerTo(stream: QuicStream, request: RangeRequest): ReturnType<typeof readPacket> {
  const { taskId, pieceNumber, range } = request;
  const id = createPacketId();
  const tag = Tag.DownloadPieceRange;
  await stream.end(encodePacket({ kind: "range-request", id, tag, taskId, pieceNumber, ...range }));
  return readPacket(stream);
}

function toAnnounced(
  { packet, rest }: Awaited<ReturnType<typeof readPacket>>,
  request: RangeRequest,
  what: string,
): Pick<Answer, "piece" | "rest"> {
  if (packet.kind === "error") throw refusalOf(packet, what);
  if (
    packet.kind !== "content" ||
    packet.tag !== Tag.PieceContent ||
    packet.pieceNumber !== request.pieceNumber
  ) {
    throw new TransportError("ERR_PROTOCOL", `${what}: the answer is for something else`);
  }
  const { pieceNumber: number, offset, length, digest, strongDigest } = packet;
  return { piece: { number, offset, length, digest, ...(strongDigest && { strongDigest }) }, rest };
}

function freeing(stream: QuicStream, lease: Lease): (isDone: boolean) => void {
  return (isDone) => {
    stream.stopReading(StreamCode.Cancelled); // does nothing to one that has ended
    lease.release(isDone ? "done" : "abandoned");
  };
}

/** Nothing came back on a connection that had been idle: its parent is gone, or was restarted. */
class SilentConnection extends Error {}

/** A living parent acknowledges a request at once, however long its answer takes. */
function watchForSilence(
  lease: Lease,
  ms: number,
): { readonly noticed: Promise<never>; stop(): void } {
  const before = lease.connection.stats().receivedPacketCount;
  let timer: NodeJS.Timeout | undefined;
  const noticed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      if (lease.connection.stats().receivedPacketCount > before) return;
      lease.retire();
      reject(new SilentConnection("Nothing is acknowledged"));
    }, ms);
  });
  return { noticed, stop: () => clearTimeout(timer) };
}
