import { once } from "node:events";
import { connect } from "node:net";
import { crc32 } from "node:zlib";
import {
  createDfdaemonUploadClient,
  createSchedulerClient,
  type AnnouncePeerRequest,
  type Download,
  type Peer__Output,
  type RpcTarget,
  type SyncPiecesResponse__Output,
} from "@damselfly/rpc";
import { encodePacket, PacketDecoder, Tag, type ContentPacket } from "@damselfly/vortex";

/** `download.maxScheduleCount`: one message of the scheduler more, and the peer gives up. */
const SCHEDULE_COUNT_MAX = 5;

export interface DragonflyChildOptions {
  readonly scheduler: RpcTarget;
  /** Must have been announced, see `announceDragonfly`. */
  readonly hostId: string;
  readonly taskId: string;
  readonly peerId: string;
  readonly url: string;
  readonly contentLength: number;
  readonly pieceLength: number;
  readonly download?: Download;
  /** The origin, for a peer that is sent there. */
  readonly origin?: (range: { readonly offset: number; readonly length: number }) => Buffer;
  /** Called with each list of parents before anything is asked of them. */
  readonly onParents?: (parents: readonly Peer__Output[]) => Promise<void> | void;
}

export interface DragonflyDownload {
  /** All of it; shorter if it was not to be had. */
  readonly content: Buffer;
  /** What the scheduler said: `parents`, `origin`, `empty` or `metadata`. */
  readonly schedule: readonly string[];
  /** Host ids by round. */
  readonly parents: readonly (readonly string[])[];
  /** Numbers of the pieces by where they came from: a host id, or `origin`. */
  readonly pieces: ReadonlyMap<number, string>;
}

/** Makes a host known, as a Dragonfly daemon does. */
export async function announceDragonfly(
  scheduler: RpcTarget,
  host: {
    readonly hostname: string;
    readonly port?: number;
    readonly seed?: boolean;
  },
): Promise<string> {
  const { hostname, port = 4000, seed = false } = host;
  const id = `127.0.0.1-${hostname}${seed ? "-seed" : ""}`;
  const client = createSchedulerClient(scheduler);
  try {
    const facts = { id, hostname, ip: "127.0.0.1", port, downloadPort: port, type: seed ? 1 : 0 };
    await client.announceHost({ host: facts, interval: { seconds: 300 } });
  } finally {
    await client[Symbol.asyncDispose]();
  }
  return id;
}

/**
 * One download by a Dragonfly daemon (client 1.5.10, resource/task.rs, `download_partial_with_scheduler`), as the scheduler and the
 * parents see it: nothing of ours in any message, no answer between two questions, all parents echoed when pieces are missing.
 *
 * @throws {RpcError} what ends its stream
 */
export async function downloadAsDragonfly(
  options: DragonflyChildOptions,
): Promise<DragonflyDownload> {
  const client = createSchedulerClient(options.scheduler);
  const child = new Child(options);
  try {
    await using call = client.announcePeer();
    const { hostId, taskId, peerId } = options;
    const say = async (body: AnnouncePeerRequest): Promise<void> => {
      await call.write({ hostId, taskId, peerId, ...body });
    };
    await say({ registerPeerRequest: { download: child.registration } });
    for await (const response of call) {
      if (child.schedule.length === SCHEDULE_COUNT_MAX) {
        await say({ downloadPeerFailedRequest: { description: "max schedule count exceeded" } });
        continue;
      }
      if (response.emptyTaskResponse) {
        child.schedule.push("empty");
        await say({ downloadPeerStartedRequest: {} });
        await say({ downloadPeerFinishedRequest: {} });
      } else if (response.metadataOnlyResponse) {
        child.schedule.push("metadata");
        await say({ downloadPeerStartedRequest: {} });
        await say({ downloadPeerFinishedRequest: {} });
      } else if (response.needBackToSourceResponse) {
        child.schedule.push("origin");
        await child.readOrigin(say);
      } else {
        child.schedule.push("parents");
        await child.readParents(response.normalTaskResponse?.candidateParents ?? [], say);
      }
    }
  } finally {
    await client[Symbol.asyncDispose]();
  }
  return child.result;
}

type Say = (body: AnnouncePeerRequest) => Promise<void>;

interface Report {
  readonly piece: SyncPiecesResponse__Output;
  readonly parent: Peer__Output;
}

class Child {
  readonly schedule: string[] = [];
  readonly #options: DragonflyChildOptions;
  readonly #parents: string[][] = [];
  readonly #pieces = new Map<number, { readonly bytes: Buffer; readonly from: string }>();

  constructor(options: DragonflyChildOptions) {
    this.#options = options;
  }

  get #pieceCount(): number {
    return Math.ceil(this.#options.contentLength / this.#options.pieceLength);
  }

  get #missing(): number[] {
    return Array.from({ length: this.#pieceCount }, (_, number) => number).filter(
      (number) => !this.#pieces.has(number),
    );
  }

  get registration(): Download {
    const { url, contentLength, pieceLength, download } = this.#options;
    return {
      url,
      type: "STANDARD",
      tag: "",
      application: "",
      priority: "LEVEL6",
      concurrentPieceCount: 8,
      actualContentLength: contentLength,
      actualPieceLength: pieceLength,
      actualPieceCount: this.#pieceCount,
      ...download,
    };
  }

  get result(): DragonflyDownload {
    const inOrder = [...this.#pieces].toSorted(([a], [b]) => a - b);
    return {
      content: Buffer.concat(inOrder.map(([, { bytes }]) => bytes)),
      schedule: this.schedule,
      parents: this.#parents,
      pieces: new Map(inOrder.map(([number, { from }]) => [number, from])),
    };
  }

  async readOrigin(say: Say): Promise<void> {
    const { origin, pieceLength, contentLength } = this.#options;
    await say({ downloadPeerBackToSourceStartedRequest: {} });
    if (origin === undefined) {
      await say({ downloadPeerBackToSourceFailedRequest: { description: "no origin" } });
      return;
    }
    for (const number of this.#missing) {
      const offset = number * pieceLength;
      const length = Math.min(pieceLength, contentLength - offset);
      const bytes = origin({ offset, length });
      this.#pieces.set(number, { bytes, from: "origin" });
      const piece = { number, offset, length, digest: `crc32:${crc32(bytes)}`, ...COST };
      await say({ downloadPieceBackToSourceFinishedRequest: { piece } });
    }
    await say({ downloadPeerBackToSourceFinishedRequest: {} });
  }

  async readParents(parents: readonly Peer__Output[], say: Say): Promise<void> {
    this.#parents.push(parents.map(({ host }) => host?.id ?? ""));
    await say({ downloadPeerStartedRequest: {} });
    await this.#options.onParents?.(parents);
    const failed = new Map<number, string>();
    await Promise.all(
      parents.map(async (parent) => {
        try {
          for await (const report of this.#collect(parent)) await this.#take(report, say, failed);
        } catch {
          // A parent that cannot be asked, or breaks off, is done with.
        }
      }),
    );
    for (const [pieceNumber, parentId] of failed) {
      if (this.#pieces.has(pieceNumber)) continue;
      await say({ downloadPieceFailedRequest: { pieceNumber, parentId, temporary: true } });
    }
    if (this.#missing.length === 0) {
      await say({ downloadPeerFinishedRequest: {} });
      return;
    }
    const description = "not all pieces are downloaded from parent";
    await say({ reschedulePeerRequest: { candidateParents: [...parents], description } });
  }

  async *#collect(parent: Peer__Output): AsyncGenerator<Report, void, undefined> {
    const { hostId, taskId } = this.#options;
    const { ip = "", port = 0 } = parent.host ?? {};
    const client = createDfdaemonUploadClient({ ip, port });
    try {
      const request = { hostId, taskId, interestedPieceNumbers: this.#missing };
      for await (const piece of client.syncPieces(request)) yield { piece, parent };
    } finally {
      await client[Symbol.asyncDispose]();
    }
  }

  async #take({ piece, parent }: Report, say: Say, failed: Map<number, string>): Promise<void> {
    const { number, offset, length, ip, tcpPort } = piece;
    if (this.#pieces.has(number)) return;
    try {
      const port = tcpPort ?? parent.host?.port ?? 0;
      const { bytes, digest } = await fetchPiece({ ip, port }, this.#options.taskId, number);
      if (digest !== `crc32:${crc32(bytes)}`) throw new Error("digest mismatch");
      this.#pieces.set(number, { bytes, from: parent.host?.id ?? "" });
      const told = { number, parentId: parent.id, offset, length, digest, ...COST };
      await say({ downloadPieceFinishedRequest: { piece: told } });
    } catch {
      failed.set(number, parent.id);
    }
  }
}

const COST = { cost: { seconds: 0, nanos: 1 }, createdAt: { seconds: 1 } };

/**
 * A piece over plain TCP, as Dragonfly's client fetches it.
 *
 * @throws {Error} when anything but the piece comes
 */
export async function fetchPiece(
  address: { readonly ip: string; readonly port: number },
  taskId: string,
  pieceNumber: number,
): Promise<{ readonly bytes: Buffer; readonly digest: string }> {
  const socket = connect({ host: address.ip, port: address.port });
  try {
    await once(socket, "connect");
    socket.write(
      encodePacket({ kind: "request", id: 3, tag: Tag.DownloadPiece, taskId, pieceNumber }),
    );
    const decoder = new PacketDecoder();
    let content: ContentPacket | undefined;
    const chunks: Uint8Array[] = [];
    const received: AsyncIterable<Buffer> = socket;
    for await (const chunk of received) {
      if (content === undefined) {
        const decoded = decoder.push(chunk);
        if (decoded === undefined) continue;
        if (decoded.packet.kind !== "content")
          throw new Error(`expected content, got ${decoded.packet.kind}`);
        content = decoded.packet;
        chunks.push(Buffer.from(decoded.rest));
      } else {
        chunks.push(chunk);
      }
      const bytes = Buffer.concat(chunks);
      if (bytes.length >= content.length) return { bytes, digest: content.digest };
    }
    throw new Error("the connection ended early");
  } finally {
    socket.destroy();
  }
}
