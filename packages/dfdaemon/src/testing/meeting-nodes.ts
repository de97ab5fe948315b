import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { createSocket } from "node:dgram";
import { createIdentity, peerKeyOf, quinnOpener } from "@damselfly/quinn";
import { openQuicEndpoint } from "@damselfly/quic";
import { createDfdaemonUploadClient, createSchedulerClient, serveRpc } from "@damselfly/rpc";
import { serveScheduler } from "@damselfly/scheduler";
import { openStorage, type Storage } from "@damselfly/storage";
import {
  type Downloader,
  type ParentAddress,
  type PieceSource,
  type Tls,
  type TlsIdentity,
} from "@damselfly/transport";
import { createGrpcDownloader } from "@damselfly/transport-grpc";
import { ALPN as QUIC_ALPN, createQuicDownloader } from "@damselfly/transport-quic";
import { createTcpDownloader } from "@damselfly/transport-tcp";
import { encodePacket, Tag } from "@damselfly/vortex";
import { LocalContent } from "../api/local-content.ts";
import { createUploadService } from "../api/services.ts";
import { configSchema } from "../config/config-schema.ts";
import { ContentLimits, DEFAULT_CONTENT_LIMITS } from "../data-plane/content-limits.ts";
import type { QuinnOffer } from "../data-plane/data-plane.ts";
import { InProcessDataPlane } from "../data-plane/in-process-data-plane.ts";
import { KnownPeers } from "../data-plane/known-peers.ts";
import { openTransports, type Transports } from "../data-plane/open-transports.ts";
import { TrafficMeter } from "../host/traffic-meter.ts";
import { type Logger, SILENT_LOGGER } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openHttpOrigin } from "../origins/http-origin.ts";
import { RpcParentChannel } from "../parents/rpc-parent-channel.ts";
import { UploadClients } from "../parents/upload-clients.ts";
import { TaskManager } from "../tasks/task-manager.ts";

const LOOPBACK = "127.0.0.1";
const TASK_ID = "a".repeat(64);
const PIECE_LENGTH = 1_000;
/** Longer than anything here takes, but for what is to be refused by silence. */
const PATIENCE_MS = 20_000;

/** The ways by which nodes meet: for pieces, and for control. */
export const WAYS = [
  "TCP",
  "gRPC pieces",
  "QUIC quiche",
  "QUIC quinn",
  "gRPC upload port",
  "gRPC scheduler",
] as const;
export type Way = (typeof WAYS)[number];

/** A node that others dial, with every port that it has for them. */
export interface DialledNode extends AsyncDisposable {
  readonly transports: Transports;
  readonly quinn: QuinnOffer | undefined;
  readonly upload: { readonly ip: string; readonly port: number };
  readonly scheduler: { readonly ip: string; readonly port: number };
  /** Pieces that somebody has got to read so far. */
  readonly pieceCount: number;
  /** What was logged, level and message. */
  readonly log: readonly string[];
}

/**
 * What somebody dials with: an identity, TLS without showing anything, no TLS at all, or as a daemon of ours does that has no
 * certificates, which is the same but for QUIC, where it vouches for nobody.
 */
export type Dialler = TlsIdentity | "no certificate" | "plain" | "without certificates";

/** @param options.tls absent: everything is plain, and QUIC vouches for nobody */
export async function openDialledNode(options: {
  readonly directory: string;
  readonly hostname: string;
  readonly tls?: Tls | undefined;
}): Promise<DialledNode> {
  const { tls, hostname } = options;
  const opened: AsyncDisposable[] = [];
  const keep = <Resource extends AsyncDisposable>(resource: Resource): Resource => {
    opened.push(resource);
    return resource;
  };
  const log: string[] = [];
  const logger = loggerInto(log);
  const plain = tls === undefined;
  const storage = await openFilledStorage(options.directory);
  let pieceCount = 0;
  const source: PieceSource = {
    openPiece: async (...request) => {
      const reader = await storage.openPiece(...request);
      pieceCount += 1;
      return reader;
    },
  };
  const { privateKey, publicKey } = createIdentity();
  const peers = new KnownPeers({ tls });
  const limits = new ContentLimits(DEFAULT_CONTENT_LIMITS);
  const transports = await openTransports({
    config: serverConfig(),
    source,
    bindIp: LOOPBACK,
    serverTls: tls,
    clientTls: tls,
    plainPeers: plain,
    announceMs: PATIENCE_MS,
    quinn: { privateKey, isKnownPeer: (key) => peers.has(key) },
    limits,
    logger,
  });
  const origin = keep(openHttpOrigin({ userAgent: "test", logger }));
  const dataPlane = keep(
    new InProcessDataPlane({
      storage,
      origin,
      ...transports,
      quinn: { publicKey, peers },
      limits,
      tls: !plain,
      logger,
    }),
  );
  const host = {
    id: `${LOOPBACK}-${hostname}`,
    hostname,
    ip: LOOPBACK,
    port: 0,
    seed: false,
    idc: "",
    location: "",
    schedulerClusterId: 0,
    disableShared: false,
    storageDirectory: options.directory,
    name: hostname,
    maxRxBitsPerSecond: 0,
    maxTxBitsPerSecond: 0,
    version: "0",
  };
  const clients = keep(new UploadClients({ tls, plainPeers: plain }));
  const policy = { tls: !plain, plainPeers: plain };
  const channel = new RpcParentChannel({
    clients,
    hostId: host.id,
    policy,
    silenceMs: PATIENCE_MS,
  });
  const manager = keep(new TaskManager({ dataPlane, origin, channel, host, logger }));
  const services = [
    createUploadService({
      manager,
      dataPlane,
      origin,
      scheduler: undefined,
      host,
      tls: !plain,
      plainPeers: plain,
      meter: new TrafficMeter(),
      metrics: createMetrics({ version: "0", platform: "test" }),
      localContent: new LocalContent(0),
      onRequest: () => {},
      onLeave: async () => {},
      logger,
    }),
  ];
  const anywhere = { ip: LOOPBACK, port: 0 };
  const upload = keep(await serveRpc({ address: anywhere, services, tls, plain, logger }));
  const scheduler = keep(await serveScheduler({ address: anywhere, tls, seedTls: tls, logger }));
  if (!("ip" in upload.address)) throw new TypeError("a port was asked for");
  return {
    transports,
    quinn: dataPlane.quinn,
    upload: upload.address,
    scheduler: scheduler.address,
    get pieceCount() {
      return pieceCount;
    },
    log,
    async [Symbol.asyncDispose]() {
      for (const each of opened.toReversed()) await each[Symbol.asyncDispose]();
    },
  };
}

/**
 * Dials a node, and asks for what nobody gets who is not trusted.
 *
 * @param options.hostname whom the dialler means
 * @returns `accepted`, or the code of the failure
 */
export async function meet(
  way: Way,
  node: DialledNode,
  options: { readonly dialler: Dialler; readonly hostname: string },
): Promise<string> {
  const { dialler } = options;
  try {
    if (dialler === "no certificate") await meetBare(way, node);
    else if (dialler === "plain" && way === "QUIC quiche") await sendDatagram(node);
    else
      await meetAs(way, node, {
        ...options,
        tls: typeof dialler === "string" ? undefined : dialler,
      });
    return "accepted";
  } catch (error) {
    if (error instanceof Error && "code" in error) return String(error.code);
    throw error;
  }
}

/** As daemons dial each other. */
async function meetAs(
  way: Way,
  node: DialledNode,
  { tls, hostname }: { readonly tls: TlsIdentity | undefined; readonly hostname: string },
): Promise<void> {
  if (way === "gRPC scheduler") {
    await using client = createSchedulerClient(node.scheduler, { tls });
    await client.listHosts({}, { timeoutMs: PATIENCE_MS });
    return;
  }
  if (way === "gRPC upload port") {
    await using client = createDfdaemonUploadClient(node.upload, {
      tls,
      expectedHostname: hostname,
    });
    await client.statLocalTask({ taskId: TASK_ID }, { timeoutMs: PATIENCE_MS });
    return;
  }
  const timeouts = { connectMs: PATIENCE_MS };
  if (way === "QUIC quinn") {
    await meetByKey(node, { tls, hostname });
    return;
  }
  await using downloader: Downloader =
    way === "TCP"
      ? createTcpDownloader({ tls, timeouts })
      : way === "gRPC pieces"
        ? createGrpcDownloader({ tls, timeouts })
        : createQuicDownloader({ tls, timeouts });
  await download(downloader, addressOf(node, hostname));
}

/** Keys are told over the control channel, and it decides: without its word a key is nobody's. */
async function meetByKey(
  node: DialledNode,
  { tls, hostname }: { readonly tls: TlsIdentity | undefined; readonly hostname: string },
): Promise<void> {
  const { privateKey, publicKey } = createIdentity();
  await using clients = new UploadClients({ tls, plainPeers: tls === undefined });
  const channel = new RpcParentChannel({
    clients,
    hostId: `${LOOPBACK}-child`,
    policy: { tls: tls !== undefined, plainPeers: tls === undefined },
    quinnKey: publicKey,
    silenceMs: PATIENCE_MS,
  });
  await using downloader = createQuicDownloader({
    tls,
    backend: "quinn",
    openEndpoint: quinnOpener({ privateKey }),
    timeouts: { connectMs: PATIENCE_MS },
  });
  const parent = {
    peerId: "parent",
    hostId: `${LOOPBACK}-${hostname}`,
    hostname,
    ...node.upload,
    digests: new Map(),
  };
  const query = {
    taskId: TASK_ID,
    pieceNumbers: [0],
    contentVersion: "v1",
    sourceDigest: "",
    signal: AbortSignal.timeout(PATIENCE_MS),
  };
  let told: ParentAddress | undefined;
  let refusal: unknown;
  try {
    for await (const event of channel.syncPieces(parent, query))
      if (event.kind === "address") told = event.address;
  } catch (error) {
    refusal = error;
  }
  if (told !== undefined) {
    await download(downloader, told);
    return;
  }
  // It dials all the same, as if somebody had told it the port and the key.
  const { port, peerKey } = quinnOf(node);
  const known = { ...addressOf(node, hostname), quinn: { port, key: peerKey } };
  await download(downloader, known).then(
    () => {
      throw new Error("a key that nobody has vouched for was let in");
    },
    (error: unknown) => {
      if (!(error instanceof Error) || !("code" in error)) throw error;
    },
  );
  throw refusal;
}

function quinnOf({ quinn }: DialledNode): { port: number; peerKey: string } {
  const [port] = quinn?.ports ?? [];
  if (quinn === undefined || port === undefined) throw new Error("quinn is not served");
  return { port, peerKey: peerKeyOf(quinn.publicKey) };
}

/** TLS that shows nothing: by hand, for no downloader of ours would. */
async function meetBare(way: Way, node: DialledNode): Promise<void> {
  if (way === "QUIC quiche") {
    const endpoint = await openQuicEndpoint({
      address: { ip: LOOPBACK, port: 0 },
      alpn: QUIC_ALPN,
      tls: "insecure",
    });
    try {
      const [port = 0] = addressOf(node, "").ports.quic ?? [];
      const connection = await endpoint.dial({ ip: LOOPBACK, port });
      const stream = connection.openStream();
      await stream.end(REQUEST);
      await stream.read(Buffer.alloc(100));
    } finally {
      await endpoint[Symbol.asyncDispose]();
    }
    return;
  }
  const { tcp, grpc } = addressOf(node, "").ports;
  // quinn's keys are told over the upload port.
  const port =
    way === "TCP"
      ? tcp
      : way === "gRPC pieces"
        ? grpc
        : way === "gRPC scheduler"
          ? node.scheduler.port
          : node.upload.port;
  const socket = connectTls({
    host: LOOPBACK,
    port: port ?? 0,
    rejectUnauthorized: false,
    ALPNProtocols: [way === "TCP" ? QUIC_ALPN : "h2"],
  });
  if (way === "TCP") socket.write(REQUEST);
  await firstWord(socket);
}

/** Vortex without any QUIC around it: it is dropped, or taken for a packet of a connection that nobody knows. */
async function sendDatagram(node: DialledNode): Promise<void> {
  const { server } = node.transports.quicParts.quiche ?? {};
  if (server === undefined) throw new Error("quiche is not served");
  const turnedAway = (): number => {
    const { droppedDatagramCount, resetSentCount } = server.stats();
    return droppedDatagramCount + resetSentCount;
  };
  const before = turnedAway();
  const socket = createSocket("udp4");
  try {
    socket.send(REQUEST, server.address.port, LOOPBACK);
    while (turnedAway() === before) await new Promise((resolve) => setImmediate(resolve));
    throw Object.assign(new Error("it was turned away"), { code: "DROPPED" });
  } finally {
    socket.close();
  }
}

/** Resolves when anything comes. */
async function firstWord(socket: Socket): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("data", () => resolve());
      socket.once("error", reject);
      socket.once("close", () => reject(Object.assign(new Error("closed"), { code: "CLOSED" })));
    });
  } finally {
    socket.on("error", () => {});
    socket.destroy();
  }
}

const REQUEST = encodePacket({
  kind: "request",
  id: 1,
  tag: Tag.DownloadPiece,
  taskId: TASK_ID,
  pieceNumber: 0,
});

async function download(downloader: Downloader, parent: ParentAddress): Promise<void> {
  const request = { taskId: TASK_ID, pieceNumber: 0, expectedLength: PIECE_LENGTH };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  await using piece = await downloader.downloadPiece(parent, request, { signal });
  let length = 0;
  for await (const chunk of piece.content) length += chunk.byteLength;
  if (length !== PIECE_LENGTH) throw new Error(`${length} bytes came`);
}

/** What a child knows of a node once it was told, by whom it trusts. */
export function addressOf(node: DialledNode, hostname: string): ParentAddress {
  const portOf = (protocol: string): number | undefined =>
    node.transports.servers.find((server) => server.protocol === protocol)?.address.port;
  const [tcp, grpc, quic] = [portOf("tcp"), portOf("grpc"), portOf("quic")];
  return {
    hostId: `${LOOPBACK}-${hostname}`,
    ip: LOOPBACK,
    hostname,
    ports: {
      ...(tcp === undefined ? {} : { tcp }),
      ...(grpc === undefined ? {} : { grpc }),
      ...(quic === undefined ? {} : { quic: [quic] }),
    },
  };
}

function serverConfig(): ReturnType<typeof configSchema.parse>["storage"]["server"] {
  const quic = { port: 0, quinnPort: 0 };
  return configSchema.parse({ storage: { server: { tcpPort: 0, grpcPort: 0, quic } } }).storage
    .server;
}

async function openFilledStorage(directory: string): Promise<Storage> {
  const storage = await openStorage({ directory, logger: SILENT_LOGGER });
  const task = await storage.createTask({
    taskId: TASK_ID,
    url: "http://origin.test/file",
    contentLength: PIECE_LENGTH,
    pieceLength: PIECE_LENGTH,
    contentVersion: "v1",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 0,
  });
  await task.writePiece({ number: 0, trafficType: "BACK_TO_SOURCE", parentId: "" }, content());
  return storage;
}

async function* content(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(PIECE_LENGTH, "piece");
}

function loggerInto(log: string[]): Logger {
  const at =
    (level: string) =>
    (_: object, message: string): void =>
      void log.push(`${level} ${message}`);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
