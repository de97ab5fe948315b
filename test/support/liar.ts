import { randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";
import { openQuicEndpoint, type QuicStream } from "@damselfly/quic";
import {
  createSchedulerClient,
  durationFromMs,
  implementService,
  serveRpc,
  timestampFromDate,
  type AnnouncePeerRequest,
  type SyncPiecesResponse,
} from "@damselfly/rpc";
import type { PieceInfo } from "@damselfly/transport";
import { ALPN } from "@damselfly/transport-quic";
import { PacketDecoder } from "@damselfly/vortex";
import { computeTaskId } from "../../packages/dfdaemon/src/identity/task-id.ts";
import { LOOPBACK, type RunningScheduler } from "./daemon.ts";
import { announcement, refusal } from "./liar-packets.ts";
import { openTcpLiar } from "./tcp-liar.ts";

/** What a parent sends for a piece: its announcement, then content, a chunk at a time. Throwing breaks the transfer off. */
export type Lie = (
  piece: PieceInfo,
  content: Uint8Array,
  signal: AbortSignal,
) => AsyncIterable<PieceInfo | Uint8Array>;

/** A piece as it is, in two chunks. */
export async function* tellTruth(
  piece: PieceInfo,
  content: Uint8Array,
): AsyncGenerator<PieceInfo | Uint8Array> {
  yield piece;
  yield content.subarray(0, CHUNK_LENGTH);
  for (let start = CHUNK_LENGTH; start < content.byteLength; start += CHUNK_LENGTH) {
    yield content.subarray(start, start + CHUNK_LENGTH);
  }
}

export interface LiarOptions {
  /** Its hostname. */
  readonly name: string;
  /** Where it says that it has everything. */
  readonly scheduler: RunningScheduler;
  readonly url: string;
  readonly content: Uint8Array;
  readonly pieceLength: number;
  readonly lie: Lie;
  /** Says that it has the file without a word of who read it, or of digests. */
  readonly isSilent?: boolean;
  /** What it says it has, in place of the truth. */
  readonly tell?: ((pieces: readonly PieceInfo[]) => AsyncIterable<SyncPiecesResponse>) | undefined;
}

export interface Liar extends AsyncDisposable {
  readonly hostId: string;
  /** Numbers of the pieces it was asked for, in order. */
  readonly asked: readonly number[];
}

/**
 * A parent in the process of the test, which has read the file from the origin if one believes it. It serves pieces over gRPC, QUIC and TCP,
 * without TLS; each time as `lie` wants it.
 */
export async function openLiar(options: LiarOptions): Promise<Liar> {
  const { name, content, pieceLength, lie } = options;
  const pieces = cut(content, pieceLength);
  const asked: number[] = [];
  const serve = (number: number, signal: AbortSignal): AsyncIterable<PieceInfo | Uint8Array> => {
    asked.push(number);
    const piece = pieces[number]!;
    return lie(piece, content.subarray(piece.offset, piece.offset + piece.length), signal);
  };
  const stop = new AbortController();
  const grpc = await serveRpc({
    address: { ip: LOOPBACK, port: 0 },
    services: [
      implementService("damselfly.v1.PieceTransfer", {
        async *downloadPiece({ pieceNumber }, { signal }) {
          const either = AbortSignal.any([signal, stop.signal]);
          for await (const part of serve(pieceNumber, either))
            yield part instanceof Uint8Array ? { content: part } : { metadata: part };
        },
      }),
    ],
    graceMs: 0,
  });
  const quic = await openQuicEndpoint({
    address: { ip: LOOPBACK, port: 0 },
    alpn: ALPN,
    tls: "insecure",
    accept(connection) {
      connection.onStream = (stream) =>
        void answer(stream, (number) => serve(number, stop.signal)).catch(() => stream.reset(1));
    },
  });
  const tcp = await openTcpLiar((number) => serve(number, stop.signal));
  const transports = [
    { protocol: "grpc", ports: [portOf(grpc.address)], tls: false },
    { protocol: "quic", ports: [quic.address.port], tls: false },
    { protocol: "tcp", ports: [tcp.port], tls: false },
  ];
  const upload = await serveRpc({
    address: { ip: LOOPBACK, port: 0 },
    services: [
      implementService("dfdaemon.v2.DfdaemonUpload", {
        async *syncPieces({ extension }) {
          const contentVersion = extension?.contentVersion ?? "";
          yield { ip: LOOPBACK, extension: { version: 1, transports, contentVersion } };
          yield* options.tell?.(pieces) ?? pieces;
        },
      }),
    ],
    graceMs: 0,
  });
  const hostId = `${LOOPBACK}-${name}`;
  await boast(options, { hostId, port: portOf(upload.address), pieces });
  return {
    hostId,
    asked,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([upload.abort(), grpc.abort(), quic.abort(), tcp.close()]);
    },
  };
}

const CHUNK_LENGTH = 128 * 1024;

function cut(content: Uint8Array, pieceLength: number): PieceInfo[] {
  return Array.from({ length: Math.ceil(content.byteLength / pieceLength) }, (_, number) => {
    const offset = number * pieceLength;
    const bytes = content.subarray(offset, offset + pieceLength);
    return { number, offset, length: bytes.byteLength, digest: digestOf(bytes) };
  });
}

/** As announced between daemons. */
export function digestOf(bytes: Uint8Array): string {
  return `crc32:${crc32(bytes)}`;
}

/** Serves one request over QUIC as Vortex, and whatever the lie makes of it. */
async function answer(
  stream: QuicStream,
  serve: (number: number) => AsyncIterable<PieceInfo | Uint8Array>,
): Promise<void> {
  const request = Buffer.alloc(256);
  const decoder = new PacketDecoder();
  let number: number | undefined;
  while (number === undefined) {
    const length = await stream.read(request);
    if (length === 0) return;
    const packet = decoder.push(request.subarray(0, length))?.packet;
    if (packet?.kind === "request" || packet?.kind === "range-request") {
      number = packet.pieceNumber; // no piece here is longer than a range
    }
  }
  stream.stopReading(0);
  let announced = false;
  try {
    for await (const part of serve(number)) {
      await stream.write(part instanceof Uint8Array ? part : announcement(part));
      announced = true;
    }
    await stream.end();
  } catch (error) {
    if (announced) throw error;
    await stream.end(refusal(error));
  }
}

/** Registers a host, and a peer of it that reads the origin to the end, and keeps the digests it told: those are true. Or one that just has it. */
async function boast(
  { name, scheduler, url, content, pieceLength, isSilent = false }: LiarOptions,
  self: {
    readonly hostId: string;
    readonly port: number;
    readonly pieces: readonly PieceInfo[];
  },
): Promise<void> {
  const { hostId, port, pieces } = self;
  await using client = createSchedulerClient({ ip: LOOPBACK, port: scheduler.port });
  const host = { id: hostId, hostname: name, ip: LOOPBACK, port, downloadPort: port };
  await client.announceHost({ host, interval: durationFromMs(600_000) });
  await using peer = client.announcePeer();
  const identity = {
    hostId,
    taskId: computeTaskId({ url }),
    peerId: `${hostId}-${randomUUID()}`,
  };
  const say = (body: AnnouncePeerRequest): Promise<void> => peer.write({ ...identity, ...body });
  const actual = {
    actualContentLength: content.byteLength,
    actualPieceLength: pieceLength,
    actualPieceCount: pieces.length,
  };
  await say({
    registerPeerRequest: { download: { url, ...actual, metadataOnly: isSilent } },
  });
  for await (const { needBackToSourceResponse, metadataOnlyResponse } of peer) {
    if (metadataOnlyResponse) await say({ downloadPeerFinishedRequest: {} });
    if (!needBackToSourceResponse) continue;
    await say({ downloadPeerBackToSourceStartedRequest: {} });
    for (const piece of pieces) {
      const facts = { cost: durationFromMs(1), createdAt: timestampFromDate(new Date()) };
      await say({ downloadPieceBackToSourceFinishedRequest: { piece: { ...piece, ...facts } } });
    }
    await say({ downloadPeerBackToSourceFinishedRequest: {} });
  }
}

function portOf(address: object): number {
  if ("port" in address && typeof address.port === "number") return address.port;
  throw new TypeError("expected a TCP address");
}
