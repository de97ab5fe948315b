import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { crc32 } from "node:zlib";
import {
  implementService,
  serveRpc,
  status,
  type Download__Output,
  type DownloadTaskResponse,
  type RpcServer,
  type SyncPiecesRequest__Output,
  type SyncPiecesResponse,
} from "@damselfly/rpc";
import type { TlsIdentity } from "@damselfly/transport";
import { encodePacket, ErrorCode, PacketDecoder, Tag, type RequestPacket } from "@damselfly/vortex";
import { pause } from "../pause.ts";

const LOOPBACK = "127.0.0.1";
/** The fields of a Content packet that nobody looks at. */
const NO_PARENT = { parentId: "", trafficType: 1, costSeconds: 0, createdAtSeconds: 1 };

/** A task as a Dragonfly daemon holds it. */
export interface HeldTask {
  readonly taskId: string;
  readonly content: Buffer;
  readonly pieceLength: number;
  /** Numbers of the pieces it has. */
  readonly held: ReadonlySet<number>;
  /** It has given up on the task. */
  readonly failed: boolean;
}

/** What a Dragonfly daemon does differently when a test wants it. */
export interface DragonflyQuirks {
  /** It does not say its TCP port. */
  hidesTcpPort?: boolean;
  /** Piece contents are served with these digests instead of their CRC-32. */
  digestOf?: (number: number) => string;
  /** Served in place of the content of a piece; of the same length. */
  contentOf?: (number: number, content: Buffer) => Buffer;
  /** A SyncPieces stream ends, and well, after so many messages: what a message does that could not be sent for ten seconds. */
  streamLengthMax?: number;
}

/**
 * What others see of a Dragonfly daemon (client 1.5.10): plain gRPC with SyncPieces and DownloadTask, and Vortex over plain TCP. It gets no
 * pieces but those it is given.
 */
export class DragonflyParent implements AsyncDisposable {
  readonly ip: string = LOOPBACK;
  /** Of its gRPC server. */
  readonly port: number;
  /** Of its Vortex server. */
  readonly tcpPort: number;
  readonly quirks: DragonflyQuirks = {};
  /** Every SyncPieces request, in order. */
  readonly syncRequests: SyncPiecesRequest__Output[] = [];
  /** Every DownloadTask that somebody triggered. */
  readonly triggered: Download__Output[] = [];
  /** Numbers of the pieces served, in order. */
  readonly served: number[] = [];
  /** How a triggered download goes; absent: refused. */
  onTrigger: ((download: Download__Output) => AsyncIterable<DownloadTaskResponse>) | undefined;
  readonly #rpc: RpcServer;
  readonly #vortex: VortexServer;
  readonly #tasks: Map<string, TaskState>;

  private constructor(parts: {
    readonly rpc: RpcServer;
    readonly vortex: VortexServer;
    readonly tasks: Map<string, TaskState>;
  }) {
    const { address } = parts.rpc;
    if (!("ip" in address)) throw new TypeError("a port was asked for");
    this.port = address.port;
    this.tcpPort = parts.vortex.port;
    this.#rpc = parts.rpc;
    this.#vortex = parts.vortex;
    this.#tasks = parts.tasks;
  }

  /** @param options.tls for its gRPC; pieces are plain all the same */
  static async open(options: { readonly tls?: TlsIdentity } = {}): Promise<DragonflyParent> {
    const tasks = new Map<string, TaskState>();
    let self: DragonflyParent | undefined;
    const me = (): DragonflyParent => {
      if (self === undefined) throw new Error("asked before it was ready");
      return self;
    };
    const upload = implementService("dfdaemon.v2.DfdaemonUpload", {
      syncPieces: (request, { signal, closing }) =>
        me().#syncPieces(request, AbortSignal.any([signal, closing])),
      downloadTask: (request) => me().#downloadTask(request.download),
      async *syncHost(_, { signal, closing }) {
        const left = AbortSignal.any([signal, closing]);
        while (!left.aborted) {
          yield { id: "dragonfly", ip: LOOPBACK };
          await pause(1_000, left);
        }
      },
    });
    const vortex = await VortexServer.open((request) => me().#answer(request));
    const address = { ip: LOOPBACK, port: 0 };
    const rpc = await serveRpc({ address, services: [upload], tls: options.tls, graceMs: 100 });
    self = new DragonflyParent({ rpc, vortex, tasks });
    return self;
  }

  /** It begins a task; of its pieces it has none yet unless said otherwise. */
  hold(task: {
    readonly taskId: string;
    readonly content: Buffer;
    readonly pieceLength: number;
    /** Has all pieces. */
    readonly complete?: boolean;
  }): void {
    const state = new TaskState(task);
    this.#tasks.set(task.taskId, state);
    if (task.complete === true) for (let n = 0; n < state.pieceCount; n += 1) state.add(n);
  }

  /** Another piece has come. */
  add(taskId: string, pieceNumber: number): void {
    this.#task(taskId).add(pieceNumber);
  }

  /** It gives up on a task. Streams that run never learn of it. */
  fail(taskId: string): void {
    this.#task(taskId).failed = true;
  }

  /** Is gone from one moment to the next. */
  async kill(): Promise<void> {
    await Promise.all([this.#rpc.abort(), this.#vortex.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #task(taskId: string): TaskState {
    const task = this.#tasks.get(taskId);
    if (task === undefined) throw new RangeError(`no task ${taskId}`);
    return task;
  }

  /** As in client 1.5.10, grpc/dfdaemon_upload.rs, `sync_pieces`. */
  async *#syncPieces(
    request: SyncPiecesRequest__Output,
    signal: AbortSignal,
  ): AsyncGenerator<SyncPiecesResponse, void, undefined> {
    this.syncRequests.push(request);
    const { taskId } = request;
    const task = this.#tasks.get(taskId);
    if (task === undefined) throw status("INTERNAL", `task ${taskId} not found`);
    if (task.failed) throw status("INTERNAL", `task ${taskId} failed`);
    // Looked at once: a task that ends meanwhile changes nothing.
    const wasFinished = task.isComplete;
    const wanted = new Set(request.interestedPieceNumbers);
    let count = 0;
    for (;;) {
      const changed = task.nextChange(signal);
      for (const number of wanted) {
        if (!task.held.has(number)) continue;
        if (count === this.quirks.streamLengthMax) return;
        count += 1;
        wanted.delete(number);
        yield {
          ...task.bounds(number),
          ip: LOOPBACK,
          ...(this.quirks.hidesTcpPort === true ? {} : { tcpPort: this.tcpPort }),
          quicPort: 1,
        };
      }
      if (wasFinished || wanted.size === 0) return;
      await changed;
      signal.throwIfAborted();
    }
  }

  async *#downloadTask(
    download: Download__Output | null,
  ): AsyncGenerator<DownloadTaskResponse, void, undefined> {
    if (download === null) throw status("INVALID_ARGUMENT", "missing download");
    this.triggered.push(download);
    if (this.onTrigger === undefined) throw status("INTERNAL", "download failed");
    yield* this.onTrigger(download);
  }

  /** The whole answer to one Vortex request. */
  #answer({ taskId, pieceNumber }: RequestPacket): Buffer {
    const task = this.#tasks.get(taskId);
    if (task?.held.has(pieceNumber) !== true) {
      const message = `piece ${taskId}-${pieceNumber} not found`;
      return Buffer.from(
        encodePacket({ kind: "error", id: 7, tag: Tag.Error, code: ErrorCode.NotFound, message }),
      );
    }
    this.served.push(pieceNumber);
    const { number, offset, length } = task.bounds(pieceNumber);
    const content = task.content.subarray(offset, offset + length);
    const digest = this.quirks.digestOf?.(number) ?? `crc32:${crc32(content)}`;
    const header = encodePacket({
      kind: "content",
      id: 7,
      tag: Tag.PieceContent,
      pieceNumber: number,
      offset,
      length,
      digest,
      ...NO_PARENT,
    });
    return Buffer.concat([header, this.quirks.contentOf?.(number, content) ?? content]);
  }
}

class TaskState implements HeldTask {
  readonly taskId: string;
  readonly content: Buffer;
  readonly pieceLength: number;
  readonly held: Set<number> = new Set();
  failed = false;
  readonly #wakes = new Set<() => void>();

  constructor(task: Pick<HeldTask, "taskId" | "content" | "pieceLength">) {
    this.taskId = task.taskId;
    this.content = task.content;
    this.pieceLength = task.pieceLength;
  }

  get pieceCount(): number {
    return Math.ceil(this.content.length / this.pieceLength);
  }

  get isComplete(): boolean {
    return this.held.size === this.pieceCount;
  }

  add(pieceNumber: number): void {
    this.held.add(pieceNumber);
    for (const wake of this.#wakes) wake();
    this.#wakes.clear();
  }

  async nextChange(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wakes.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  bounds(number: number): { number: number; offset: number; length: number } {
    const offset = number * this.pieceLength;
    return { number, offset, length: Math.min(this.pieceLength, this.content.length - offset) };
  }
}

/** Vortex over plain TCP, one request after another on each connection. */
class VortexServer {
  readonly port: number;
  readonly close: () => Promise<void>;

  private constructor(port: number, close: () => Promise<void>) {
    this.port = port;
    this.close = close;
  }

  static async open(answer: (request: RequestPacket) => Buffer): Promise<VortexServer> {
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => sockets.delete(socket));
      void serve(socket, answer);
    });
    server.listen(0, LOOPBACK);
    await once(server, "listening");
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    const { port } = server.address() as AddressInfo;
    return new VortexServer(port, async () => {
      for (const socket of sockets) socket.destroy();
      if (!server.listening) return;
      server.close();
      await once(server, "close");
    });
  }
}

/** Anything but a request for a piece ends the connection without an answer. */
async function serve(socket: Socket, answer: (request: RequestPacket) => Buffer): Promise<void> {
  const decoder = new PacketDecoder();
  try {
    const chunks: AsyncIterable<Buffer> = socket;
    for await (const chunk of chunks) {
      for (let decoded = decoder.push(chunk); decoded !== undefined;) {
        const { packet, rest } = decoded;
        if (packet.kind !== "request") return;
        socket.write(answer(packet));
        decoded = decoder.push(rest);
      }
    }
    socket.end();
  } catch {
    // What is no Vortex packet is not answered either.
  } finally {
    if (!socket.writableEnded) socket.destroy();
  }
}
