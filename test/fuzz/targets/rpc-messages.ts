import { join } from "node:path";
import {
  CacheGc,
  ContentLimits,
  createCacheService,
  createDownloadService,
  createMetrics,
  createUploadService,
  DEFAULT_CONTENT_LIMITS,
  InProcessDataPlane,
  LocalContent,
  type Origin,
  type OriginBody,
  type OriginStat,
  type ServiceParts,
  TaskManager,
  TrafficMeter,
} from "@damselfly/dfdaemon/testing";
import {
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  createPieceTransferClient,
  type RpcServer,
  serveRpc,
} from "@damselfly/rpc";
import { openStorage } from "@damselfly/storage";
import { type GrpcPieceServer, serveGrpc } from "@damselfly/transport-grpc";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import { CountingSource, PIECES, TASK_ID } from "./pieces.ts";
import { type CalledService, PROTOBUF_WORDS, RpcCaller } from "./rpc-caller.ts";

/**
 * Messages at a daemon's gRPC services: protobuf bytes of any kind, framed as gRPC does or not, on every method. Each call must end in
 * a status or be ended by its caller, no handler may fail in a way that nobody thought of, and good callers are answered all the while.
 *
 * There is no network behind the daemon: its origin is a few bytes that every URL stands for, and no file is written for anybody.
 */
export const rpcMessages: FuzzTarget = {
  name: "rpc-messages",
  summary: "protobuf bytes at a daemon's services: every call ends in a status, others are served",
  unit: "calls",
  lengthMax: 2_048,
  groupLength: 64,
  isConcurrent: true,
  open: async ({ directory }) => await RpcFuzz.open(directory),
};

/** Calls come as fast as they can; how they are held back is tested elsewhere. */
const UNHURRIED = { connectionsPerSecondMax: 1e6, callsPerSecondMax: 1e6 };
const CONTENT = Buffer.from("what every URL stands for");

interface Parts {
  readonly download: RpcServer;
  readonly upload: RpcServer;
  readonly pieces: GrpcPieceServer;
  readonly source: CountingSource;
  readonly socketPath: string;
  readonly failures: string[];
  readonly manager: TaskManager;
  readonly gc: CacheGc;
  readonly dataPlane: InProcessDataPlane;
}

class RpcFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[] = PROTOBUF_WORDS;
  readonly #parts: Parts;
  readonly #caller: RpcCaller;

  private constructor(parts: Parts) {
    this.#parts = parts;
    const { socketPath, upload, pieces } = parts;
    const messages = MESSAGES;
    const socket = { authority: "http://localhost", socketPath, messages };
    const port = { authority: authorityOf(upload), messages };
    const services: readonly CalledService[] = [
      { name: "dfdaemon.v2.DfdaemonDownload", ...socket },
      { name: "dfdaemon.v2.DfdaemonUpload", ...port },
      { name: "damselfly.v1.Cache", ...socket },
      { name: "damselfly.v1.PieceTransfer", authority: authorityOf(pieces), messages },
      { name: "grpc.health.v1.Health", ...port },
      { name: "grpc.reflection.v1.ServerReflection", ...port },
    ];
    this.#caller = new RpcCaller(services);
    this.examples = this.#caller.examples;
  }

  static async open(directory: string): Promise<RpcFuzz> {
    const failures: string[] = [];
    const note = (fields: object, message?: string): void => {
      const { err } = fields as { err?: unknown };
      failures.push(`${message}: ${err instanceof Error ? err.stack : String(err)}`);
    };
    const logger = { debug() {}, info() {}, warn() {}, error: note };
    const storage = await openStorage({ directory });
    const dataPlane = new InProcessDataPlane({
      storage,
      origin: ORIGIN,
      limits: new ContentLimits(DEFAULT_CONTENT_LIMITS),
      servers: [],
      downloaders: [],
      tls: false,
    });
    const host = { id: "127.0.0.1-fuzz", hostname: "fuzz", ip: "127.0.0.1", seed: true };
    const manager = new WithoutOutputs({
      dataPlane,
      origin: ORIGIN,
      channel: { syncPieces: nothing },
      host,
      logger,
    });
    const gc = new CacheGc({
      storage,
      policy: { taskTtlMs: 3_600_000, quotaBytes: 0, highPercent: 100, lowPercent: 100 },
      intervalMs: 3_600_000,
      scheduler: undefined,
      hostId: host.id,
      logger,
    });
    const parts: ServiceParts = {
      manager,
      dataPlane,
      origin: ORIGIN,
      scheduler: undefined,
      host: {
        ...host,
        name: "fuzz",
        port: 4000,
        idc: "",
        location: "",
        schedulerClusterId: 1,
        disableShared: false,
        storageDirectory: directory,
        maxRxBitsPerSecond: 1e9,
        maxTxBitsPerSecond: 1e9,
        version: "0",
      },
      tls: false,
      plainPeers: true,
      meter: new TrafficMeter(),
      localContent: new LocalContent(1024 * 1024),
      metrics: createMetrics({ version: "0", platform: "fuzz" }),
      onRequest: () => {},
      onLeave: async () => {},
      logger,
    };
    const socketPath = join(directory, "s");
    const download = await serveRpc({
      address: { socketPath, mode: 0o600 },
      services: [createDownloadService(parts), createCacheService({ ...parts, gc })],
      limits: UNHURRIED,
      logger,
    });
    const address = { ip: "127.0.0.1", port: 0 };
    const upload = await serveRpc({
      address,
      services: [createUploadService(parts)],
      limits: UNHURRIED,
      logger,
    });
    const source = new CountingSource();
    const pieces = await serveGrpc({ source, address, logger });
    const rest = { source, socketPath, failures, manager, gc, dataPlane };
    return new RpcFuzz({ download, upload, pieces, ...rest });
  }

  async run(input: Uint8Array): Promise<void> {
    await this.#caller.call(input);
    const { failures } = this.#parts;
    assertHolds(failures.length === 0, () => `a handler failed: ${failures.splice(0)[0]}`);
  }

  async check(): Promise<void> {
    const { socketPath, upload: server, manager } = this.#parts;
    await using download = createDfdaemonDownloadClient({ socketPath });
    let finishedCount = 0;
    for await (const response of download.downloadTask({
      download: { url: "http://o.invalid/f" },
    })) {
      if (response.downloadPieceFinishedResponse) finishedCount++;
    }
    assertHolds(finishedCount === 1, () => `${finishedCount} pieces have come`);
    await using upload = createDfdaemonUploadClient(server.address);
    const { tasks } = await download.listLocalTasks({});
    for (const { taskId } of tasks.slice(0, 3)) await upload.statLocalTask({ taskId });
    for (const { taskId } of tasks) await download.deleteLocalTask({ taskId });
    for (let turn = 0; manager.activeCount > 0 && turn < 200; turn++) await pause(20);
    assertHolds(
      manager.activeCount === 0,
      () => `${manager.activeCount} downloads go on that nobody waits for`,
    );
    await this.#checkPieces();
  }

  async #checkPieces(): Promise<void> {
    const { pieces, source } = this.#parts;
    await using client = createPieceTransferClient(pieces.address);
    const parts: Uint8Array[] = [];
    for await (const { content } of client.downloadPiece({ taskId: TASK_ID, pieceNumber: 4 })) {
      if (content !== undefined) parts.push(content);
    }
    assertHolds(PIECES[4]?.equals(Buffer.concat(parts)) === true, "a piece has other bytes");
    for (let turn = 0; source.openCount > 0 && turn < 200; turn++) await pause(20);
    assertHolds(source.openCount === 0, () => `${source.openCount} pieces are left open`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { download, upload, pieces, manager, gc, dataPlane } = this.#parts;
    this.#caller[Symbol.dispose]();
    for (const server of [download, upload, pieces]) await server.abort();
    await manager[Symbol.asyncDispose]();
    await gc[Symbol.asyncDispose]();
    await dataPlane[Symbol.asyncDispose]();
  }
}

function authorityOf({ address }: Pick<RpcServer | GrpcPieceServer, "address">): string {
  return `http://127.0.0.1:${"port" in address ? address.port : 0}`;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whatever a message says, nothing is written outside of the storage. */
class WithoutOutputs extends TaskManager {
  override download(
    ...[request, signal]: Parameters<TaskManager["download"]>
  ): ReturnType<TaskManager["download"]> {
    const { output: _output, ...rest } = request;
    return super.download(rest, signal);
  }

  override prefetch(...[request, observer]: Parameters<TaskManager["prefetch"]>): void {
    const { output: _output, ...rest } = request;
    super.prefetch(rest, observer);
  }
}

/** The same few bytes under every URL. */
const STAT: OriginStat = {
  contentLength: CONTENT.byteLength,
  etag: '"1"',
  lastModified: "",
  contentVersion: "1",
  rangeable: true,
  responseHeader: { etag: '"1"' },
  statusCode: 200,
  digests: [],
};
const ORIGIN: Origin = {
  stat: async () => STAT,
  readRange: async (_request, { offset, length }) =>
    bodyOf(CONTENT.subarray(offset, offset + length)),
  readAll: async () => bodyOf(CONTENT),
  async [Symbol.asyncDispose]() {},
};

function bodyOf(bytes: Uint8Array): OriginBody {
  return {
    stat: STAT,
    content: (async function* () {
      yield bytes;
    })(),
    async [Symbol.asyncDispose]() {},
  };
}

async function* nothing(): AsyncGenerator<never> {}

const URL_TEXT = "http://origin.invalid/file?a=1&b=2";

/** Good messages for a daemon's methods, by their names. */
const MESSAGES: Readonly<Record<string, readonly object[]>> = {
  downloadTask: [
    { download: { url: URL_TEXT } },
    {
      download: {
        url: URL_TEXT,
        digest: `sha256:${"0".repeat(64)}`,
        range: { start: 3, length: 5 },
        tag: "t",
        application: "a",
        priority: 3,
        filteredQueryParams: ["a"],
        requestHeader: { range: "bytes=0-3", authorization: "x" },
        pieceLength: 4 * 2 ** 20,
        timeout: { seconds: 5, nanos: 1 },
        needBackToSource: true,
        disableBackToSource: false,
        needPieceContent: true,
        prefetch: true,
        contentForCalculatingTaskId: "c",
      },
    },
    { download: { url: URL_TEXT, metadataOnly: true, overwrite: true, isPrefetch: true } },
  ],
  statTask: [{ taskId: TASK_ID }],
  statLocalTask: [{ taskId: TASK_ID }],
  listLocalTasks: [{}],
  listTaskEntries: [
    { taskId: TASK_ID, url: URL_TEXT, requestHeader: { a: "b" }, timeout: { seconds: 1 } },
  ],
  deleteTask: [{ taskId: TASK_ID }],
  deleteLocalTask: [{ taskId: TASK_ID }],
  deleteHost: [{}],
  syncPieces: [
    { hostId: "h", taskId: TASK_ID, interestedPieceNumbers: [0, 1, 2] },
    { hostId: "h", taskId: TASK_ID, interestedPieceNumbers: [0], extension: { version: 1 } },
  ],
  syncHost: [{ hostId: "h", peerId: "p" }],
  listCache: [{}],
  pinTasks: [{ tasks: [TASK_ID], pinned: true }, { tasks: [URL_TEXT] }],
  removeTasks: [{ tasks: [TASK_ID] }, { tasks: [URL_TEXT], force: true }],
  collectGarbage: [{}, { dryRun: true }],
  downloadPiece: [
    { taskId: TASK_ID, pieceNumber: 3 },
    { taskId: TASK_ID, pieceNumber: 4, range: { offset: 100, length: 1_000 } },
  ],
};
