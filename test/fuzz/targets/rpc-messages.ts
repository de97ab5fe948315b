import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { once } from "node:events";
import { join } from "node:path";
import {
  ContentLimits,
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
  loadService,
  type RpcServer,
  serveRpc,
} from "@damselfly/rpc";
import { openStorage } from "@damselfly/storage";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import {
  assertHolds,
  BrokenPromise,
  type FuzzTarget,
  type OpenTarget,
} from "../engine/fuzz-target.ts";

/**
 * Messages at a daemon's two gRPC services: protobuf bytes of any kind, framed as gRPC does or not, on every method. Each call must end in
 * a status or be ended by its caller, no handler may fail in a way that nobody thought of, and good callers are answered all the while.
 *
 * There is no network behind the daemon: its origin is a few bytes that every URL stands for, and no file is written for anybody.
 */
export const rpcMessages: FuzzTarget = {
  name: "rpc-messages",
  summary: "protobuf bytes at both gRPC services: every call ends in a status, others are served",
  unit: "calls",
  lengthMax: 2_048,
  groupLength: 64,
  isConcurrent: true,
  open: async ({ directory }) => await RpcFuzz.open(directory),
};

const SERVICES = ["dfdaemon.v2.DfdaemonDownload", "dfdaemon.v2.DfdaemonUpload"] as const;
/** Streams that go on until their caller leaves. Milliseconds. */
const PATIENCE_MS = 300;
/** A call whose caller has said all must have a status by then. Milliseconds. */
const ANSWER_MS = 20_000;
/** Calls come as fast as they can; how they are held back is tested elsewhere. */
const UNHURRIED = { connectionsPerSecondMax: 1e6, callsPerSecondMax: 1e6 };
const CONTENT = Buffer.from("what every URL stands for");

class RpcFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = createExamples();
  readonly dictionary: readonly Uint8Array[] = DICTIONARY;
  readonly #servers: readonly RpcServer[];
  readonly #sessions: ClientHttp2Session[];
  readonly #urls: readonly { readonly authority: string; readonly socketPath?: string }[];
  readonly #failures: string[];
  readonly #manager: TaskManager;
  readonly #dataPlane: InProcessDataPlane;

  private constructor(parts: {
    readonly servers: readonly RpcServer[];
    readonly urls: readonly { readonly authority: string; readonly socketPath?: string }[];
    readonly failures: string[];
    readonly manager: TaskManager;
    readonly dataPlane: InProcessDataPlane;
  }) {
    this.#servers = parts.servers;
    this.#urls = parts.urls;
    this.#failures = parts.failures;
    this.#manager = parts.manager;
    this.#dataPlane = parts.dataPlane;
    this.#sessions = parts.urls.map(openSession);
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
      services: [createDownloadService(parts)],
      limits: UNHURRIED,
      logger,
    });
    const upload = await serveRpc({
      address: { ip: "127.0.0.1", port: 0 },
      services: [createUploadService(parts)],
      limits: UNHURRIED,
      logger,
    });
    const port = "port" in upload.address ? upload.address.port : 0;
    const urls = [
      { authority: "http://localhost", socketPath },
      { authority: `http://127.0.0.1:${port}` },
    ];
    return new RpcFuzz({ servers: [download, upload], urls, failures, manager, dataPlane });
  }

  async run(input: Uint8Array): Promise<void> {
    const choices = new Choices(input);
    const index = choices.below(SERVICES.length);
    const stream = this.#session(index).request({
      ":method": choices.below(32) === 31 ? "GET" : "POST",
      ":path": decodePath(choices, index),
      "content-type": choices.below(16) === 15 ? "application/json" : "application/grpc",
      te: "trailers",
      ...(choices.below(8) === 7 ? { "grpc-timeout": decodeTimeout(choices) } : {}),
    });
    await callWith(stream, decodeFrames(choices), { isLeftOpen: choices.below(16) === 15 });
    assertHolds(
      this.#failures.length === 0,
      () => `a handler failed: ${this.#failures.splice(0)[0]}`,
    );
  }

  async check(): Promise<void> {
    const [{ socketPath = "" } = {}] = this.#urls;
    await using download = createDfdaemonDownloadClient({ socketPath });
    let finishedCount = 0;
    for await (const response of download.downloadTask({
      download: { url: "http://o.invalid/f" },
    })) {
      if (response.downloadPieceFinishedResponse) finishedCount++;
    }
    assertHolds(finishedCount === 1, () => `${finishedCount} pieces have come`);
    const { address } = this.#servers[1]!;
    await using upload = createDfdaemonUploadClient(address);
    const { tasks } = await download.listLocalTasks({});
    for (const { taskId } of tasks.slice(0, 3)) await upload.statLocalTask({ taskId });
    for (const { taskId } of tasks) await download.deleteLocalTask({ taskId });
    for (let turn = 0; this.#manager.activeCount > 0 && turn < 200; turn++) await pause(20);
    assertHolds(
      this.#manager.activeCount === 0,
      () => `${this.#manager.activeCount} downloads go on that nobody waits for`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    for (const server of this.#servers) await server.abort();
    await this.#manager[Symbol.asyncDispose]();
    await this.#dataPlane[Symbol.asyncDispose]();
  }

  /** What has broken the protocol has cost its connection. */
  #session(index: number): ClientHttp2Session {
    const session = this.#sessions[index];
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const opened = openSession(this.#urls[index]!);
    this.#sessions[index] = opened;
    return opened;
  }
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

function openSession(url: {
  readonly authority: string;
  readonly socketPath?: string;
}): ClientHttp2Session {
  const { authority, socketPath } = url;
  const session = connect(authority, socketPath === undefined ? {} : { path: socketPath });
  session.on("error", () => {}); // its calls hear of it
  return session;
}

const METHODS = SERVICES.map((name) =>
  [...loadService(name).methods.values()].map(({ path }) => path),
);

function decodePath(choices: Choices, service: number): string {
  const which = choices.byte();
  const methods = METHODS[service] ?? [];
  if (which < 224) return methods[which % methods.length] ?? "/";
  // Printable, or the client itself would not send it.
  return `/${Buffer.from(choices.block()).toString("base64url")}`;
}

function decodeTimeout(choices: Choices): string {
  return choices.pick(["1S", "0m", "99999999H", "-1S", "1", "", "10n", "1e9S"]);
}

/** A message in its frame (a flag and four bytes of length), which may lie, and more of them. */
function decodeFrames(choices: Choices): Buffer {
  const frames: Buffer[] = [];
  for (let count = choices.below(8) === 7 ? 3 : 1; count > 0; count--) {
    const message = Buffer.from(choices.block());
    const lie = choices.below(16);
    const head = Buffer.alloc(5);
    head.writeUInt8(lie === 15 ? choices.byte() : 0);
    const length =
      lie === 14 ? choices.u32() : lie === 13 ? message.byteLength + 1 : message.byteLength;
    head.writeUInt32BE(length, 1);
    frames.push(head, message);
  }
  return Buffer.concat(frames);
}

/** Sends it all, and waits for the end; what goes on by itself is left. */
async function callWith(
  stream: ClientHttp2Stream,
  bytes: Buffer,
  { isLeftOpen }: { readonly isLeftOpen: boolean },
): Promise<void> {
  let statusText: unknown;
  let isAnswered = false;
  stream.on("error", () => {}); // the end is what counts
  stream.on("response", (headers) => {
    isAnswered = true;
    statusText = headers["grpc-status"];
  });
  stream.on("trailers", (headers) => {
    statusText = headers["grpc-status"];
  });
  stream.resume();
  if (isLeftOpen) stream.write(bytes);
  else stream.end(bytes);
  const closed = once(stream, "close").catch(() => undefined);
  const isOver = await Promise.race([
    closed.then(() => true),
    pause(PATIENCE_MS).then(() => false),
  ]);
  if (!isOver) {
    // Unless nothing has been said yet, it is one of those that go on.
    if (!isAnswered && !isLeftOpen) {
      const isLate = await Promise.race([
        closed.then(() => false),
        pause(ANSWER_MS).then(() => true),
      ]);
      if (isLate && statusText === undefined && !isAnswered) {
        stream.close(constants.NGHTTP2_CANCEL);
        throw new BrokenPromise(`nothing was answered within ${ANSWER_MS} ms`);
      }
    }
    stream.close(constants.NGHTTP2_CANCEL);
    await closed;
  }
  if (statusText === undefined) return;
  const status = Number(statusText);
  assertHolds(status >= 0 && status <= 16, () => `the status is ${String(statusText)}`);
  // 2 is UNKNOWN, which no handler of ours says.
  assertHolds(status !== 2, "the status is UNKNOWN");
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

const URL_TEXT = "http://origin.invalid/file?a=1&b=2";
const TASK = "5a".repeat(32);

/** A good message for each method, by its name. */
const MESSAGES: Readonly<Record<string, readonly object[]>> = {
  DownloadTask: [
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
  StatTask: [{ taskId: TASK }],
  StatLocalTask: [{ taskId: TASK }],
  ListLocalTasks: [{}],
  ListTaskEntries: [
    { taskId: TASK, url: URL_TEXT, requestHeader: { a: "b" }, timeout: { seconds: 1 } },
  ],
  DeleteTask: [{ taskId: TASK }],
  DeleteLocalTask: [{ taskId: TASK }],
  DeleteHost: [{}],
  SyncPieces: [
    { hostId: "h", taskId: TASK, interestedPieceNumbers: [0, 1, 2] },
    { hostId: "h", taskId: TASK, interestedPieceNumbers: [0], extension: { version: 1 } },
  ],
  SyncHost: [{ hostId: "h", peerId: "p" }],
};

function createExamples(): Uint8Array[] {
  return SERVICES.flatMap((name, service) => {
    const methods = [...loadService(name).methods.values()];
    return methods.flatMap((method, index) => {
      const messages = MESSAGES[
        method.originalName === undefined ? "" : upper(method.originalName)
      ] ?? [{}];
      return messages.map((message) =>
        new ChoiceWriter()
          .byte(service)
          .byte(0)
          .byte(index)
          .byte(0)
          .byte(0)
          .byte(0)
          .block(method.requestSerialize(message))
          .byte(0)
          .byte(0)
          .finish(),
      );
    });
  });
}

function upper(name: string): string {
  return name.slice(0, 1).toUpperCase() + name.slice(1);
}

/** What protobuf and its readers trip over. */
const DICTIONARY: readonly Uint8Array[] = [
  [
    "ffffffffffffffffff01",
    "ffffffff0f",
    "ffffffffffffffffff7f",
    "0a00",
    "0affffffff0f",
    "0b0c",
    "0d",
  ],
  ["08", "10ffffffffffffffff7f", "1a02ff00", "f207", "fa0f", "800100", "c23e00", "c0fd1f00"],
]
  .flat()
  .map((hex) => Buffer.from(hex, "hex"));
