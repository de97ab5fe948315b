import type { QuicConnectionStats, QuicStream } from "@damselfly/quic";
import {
  createPieceDownload,
  DEFAULT_DOWNLOADER_TIMEOUTS,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type TlsIdentity,
  TransportError,
  within,
} from "@damselfly/transport";
import { type ContentPacket, encodePacket, Tag } from "@damselfly/vortex";
import { StreamCode } from "./codes.ts";
import { ConnectionPool, type Lease } from "./connection-pool.ts";
import { Dialler, type Target } from "./dialler.ts";
import type { EndpointTuning } from "./endpoint-tuning.ts";
import { createPacketId } from "./packet-id.ts";
import { readChunks } from "./piece-chunks.ts";
import { ReadBuffers } from "./read-buffers.ts";
import { readPacket } from "./read-packet.ts";
import { refusalOf } from "./refusal-of.ts";
import { toTransportError } from "./to-transport-error.ts";

export interface QuicDownloaderOptions extends EndpointTuning {
  /** With it mutual TLS; without it encrypted, but nobody is who they say. */
  readonly tls?: TlsIdentity | undefined;
  /** Over `DEFAULT_DOWNLOADER_TIMEOUTS`. */
  readonly timeouts?: Partial<DownloaderTimeouts> | undefined;
  readonly pool?:
    | {
        /** Connections kept, all parents together; default 1000. */
        readonly capacity?: number | undefined;
        /** A connection that nobody uses is closed after this, in milliseconds; default 300 000. */
        readonly idleTimeoutMs?: number | undefined;
      }
    | undefined;
  /**
   * Which of a parent's ports are dialled: `quiche` those in `ports.quic`, `quinn` the one in `quinn`, with its key.
   * Must fit `openEndpoint`. Default `quiche`.
   */
  readonly backend?: QuicBackend | undefined;
}

export type QuicBackend = "quiche" | "quinn";

export interface QuicDownloader extends Downloader {
  readonly protocol: "quic";
  /** Connections held, idle ones included. */
  readonly connectionCount: number;
  /** Of every connection held. */
  stats(): QuicParentStats[];
}

export interface QuicParentStats extends QuicConnectionStats {
  readonly ip: string;
  readonly port: number;
}

/** Downloads pieces as Vortex over pooled QUIC connections, one stream a piece. Opens nothing before it is used. */
export function createQuicDownloader(options: QuicDownloaderOptions = {}): QuicDownloader {
  return new PooledDownloader(options);
}

interface Announced {
  readonly lease: Lease;
  readonly stream: QuicStream;
  readonly packet: ContentPacket;
  readonly rest: Uint8Array;
}

class PooledDownloader implements QuicDownloader {
  readonly protocol = "quic";
  readonly #timeouts: DownloaderTimeouts;
  readonly #backend: QuicBackend;
  readonly #dialler: Dialler;
  readonly #pool: ConnectionPool;
  readonly #buffers = new ReadBuffers();
  /** Ends each download that runs. */
  readonly #running = new Set<AbortController>();
  #closing: Promise<void> | undefined;

  constructor(options: QuicDownloaderOptions) {
    const { capacity = 1000, idleTimeoutMs = 300_000 } = options.pool ?? {};
    this.#timeouts = { ...DEFAULT_DOWNLOADER_TIMEOUTS, ...options.timeouts };
    this.#backend = options.backend ?? "quiche";
    this.#dialler = new Dialler({
      ...options,
      tls: options.tls,
      connectMs: this.#timeouts.connectMs,
      deadAfterMs: this.#timeouts.stallMs,
      // The pool closes idle connections, and says so to the parent; this one is for connections it lost.
      idleTimeoutMs: idleTimeoutMs + 2 * this.#timeouts.stallMs,
      connectionCountMax: 2 * capacity, // evicted ones that are still in use count too
    });
    this.#pool = new ConnectionPool((target) => this.#dialler.dial(target), {
      capacity,
      idleTimeoutMs,
    });
  }

  get connectionCount(): number {
    return this.#pool.connectionCount;
  }

  stats(): QuicParentStats[] {
    return [...this.#pool.connections].map((connection) => ({
      ...connection.remoteAddress,
      ...connection.stats(),
    }));
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    const { signal } = options;
    const what = `Cannot download piece ${request.pieceNumber} from ${parent.hostId}`;
    if (this.#closing !== undefined) throw closedError(what);
    signal?.throwIfAborted();
    const target = targetOf(parent, request, { backend: this.#backend, what });

    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#running.add(controller);
    const done = (): void => {
      signal?.removeEventListener("abort", onAbort);
      this.#running.delete(controller);
    };
    try {
      const announced = await this.#request(target, request, { what, signal: controller.signal });
      return this.#toDownload(parent, announced, { what, signal: controller.signal, done });
    } catch (error) {
      done();
      controller.signal.throwIfAborted();
      throw toTransportError(error, what);
    }
  }

  /** Ends what runs with `ERR_CLOSED`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const controller of this.#running) {
      controller.abort(closedError("Cannot download pieces"));
    }
    this.#pool.close();
    await this.#dialler[Symbol.asyncDispose]();
  }

  /** Asks on a pooled connection, and once more on a new one if that turns out to be dead. */
  async #request(
    target: Target,
    request: PieceRequest,
    context: { readonly what: string; readonly signal: AbortSignal },
  ): Promise<Announced> {
    for (;;) {
      const lease = await this.#acquire(target, context);
      try {
        return await this.#ask(lease, request, context);
      } catch (error) {
        const isDead = error instanceof SilentConnection || !lease.connection.isOpen;
        if (!lease.wasIdle || !isDead || context.signal.aborted) throw error;
      }
    }
  }

  async #acquire(
    target: Target,
    { what, signal }: { readonly what: string; readonly signal: AbortSignal },
  ): Promise<Lease> {
    const acquiring = this.#pool.acquire(target);
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
  async #ask(
    lease: Lease,
    request: PieceRequest,
    { what, signal }: { readonly what: string; readonly signal: AbortSignal },
  ): Promise<Announced> {
    const { announceMs, connectMs } = this.#timeouts;
    let stream: QuicStream | undefined;
    let isAnswered = false;
    try {
      stream = lease.connection.openStream();
      const silence = lease.wasIdle ? watchForSilence(lease, connectMs) : undefined;
      const answering = answerTo(stream, request);
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
      if (answer.packet.kind === "error") throw refusalOf(answer.packet, what);
      const { packet, rest } = answer;
      if (
        packet.kind !== "content" ||
        packet.tag !== Tag.PieceContent ||
        packet.pieceNumber !== request.pieceNumber
      ) {
        throw new TransportError("ERR_PROTOCOL", `${what}: the answer is for something else`);
      }
      return { lease, stream, packet, rest };
    } catch (error) {
      stream?.stopReading(StreamCode.Cancelled);
      stream?.reset(StreamCode.Cancelled);
      lease.release(isAnswered ? "done" : "abandoned");
      throw error;
    }
  }

  #toDownload(
    parent: ParentAddress,
    { lease, stream, packet, rest }: Announced,
    { what, signal, done }: { what: string; signal: AbortSignal; done: () => void },
  ): PieceDownload {
    const { pieceNumber, offset, length, digest } = packet;
    return createPieceDownload({
      piece: { number: pieceNumber, offset, length, digest },
      hostId: parent.hostId,
      chunks: readChunks(stream, rest, { length, buffers: this.#buffers, what }),
      stallMs: this.#timeouts.stallMs,
      signal,
      close: (failure) => {
        done();
        stream.stopReading(StreamCode.Cancelled); // does nothing to one that has ended
        lease.release(failure === undefined ? "done" : "abandoned");
      },
    });
  }
}

async function answerTo(
  stream: QuicStream,
  { taskId, pieceNumber }: PieceRequest,
): ReturnType<typeof readPacket> {
  const id = createPacketId();
  await stream.end(
    encodePacket({ kind: "request", id, tag: Tag.DownloadPiece, taskId, pieceNumber }),
  );
  return readPacket(stream);
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

/** A parent with several QUIC ports has a process behind each: pieces are spread over them. */
function targetOf(
  parent: ParentAddress,
  request: PieceRequest,
  { backend, what }: { readonly backend: QuicBackend; readonly what: string },
): Target {
  if (backend === "quinn" && parent.quinn !== undefined) {
    const { port, key } = parent.quinn;
    return { ip: parent.ip, port, hostname: parent.hostname, peerKey: key };
  }
  const ports = (backend === "quiche" ? parent.ports.quic : undefined) ?? [];
  const port = ports[request.pieceNumber % ports.length];
  if (port === undefined) {
    throw new TransportError("ERR_PARENT_UNREACHABLE", `${what}: it does not offer QUIC`);
  }
  return { ip: parent.ip, port, hostname: parent.hostname };
}

function closedError(what: string): TransportError {
  return new TransportError("ERR_CLOSED", `${what}: the downloader is closed`);
}
