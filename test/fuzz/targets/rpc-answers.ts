import { once } from "node:events";
import {
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { isIP } from "node:net";
import { gzipSync } from "node:zlib";
import {
  type CandidateParent,
  DaemonError,
  type ParentEvent,
  type PeerRegistration,
  RpcParentChannel,
  RpcPeerSession,
  type ScheduleEvent,
  UploadClients,
} from "@damselfly/dfdaemon/testing";
import { createSchedulerClient, loadService, type SchedulerClient } from "@damselfly/rpc";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import { PROTOBUF_WORDS } from "./rpc-caller.ts";

/**
 * What a daemon is answered that asks others over gRPC: parents for their pieces (SyncPieces), a scheduler for parents (AnnouncePeer).
 * Messages of any kind, in frames that lie, compressed or said to be, headers and statuses that there are not, resets, silence.
 */
export const rpcAnswers: FuzzTarget = {
  name: "rpc-answers",
  summary: "what hostile parents and schedulers say over gRPC: good events, or a DaemonError",
  unit: "answers",
  lengthMax: 1_024,
  groupLength: 64,
  isConcurrent: true,
  open: async () => await AnswerFuzz.open(),
};

const STEP_COUNT_MAX = 8;
/** How long a parent may be silent, and any answer may take. Milliseconds. */
interface Patience {
  readonly silenceMs: number;
  readonly answerMs: number;
}
const HASTY: Patience = { silenceMs: 200, answerMs: 600 };
/** Good ones have all the time that a busy machine needs. */
const PATIENT: Patience = { silenceMs: 20_000, answerMs: 25_000 };
const HOST_ID = "127.0.0.1-fuzz";
const CONTENT_VERSION = "1";
const PIECE_NUMBERS = [0, 1, 2, 3, 4];

class AnswerFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly dictionary: readonly Uint8Array[] = PROTOBUF_WORDS;
  readonly #server: HostileServer;
  readonly #clients = new UploadClients({});
  readonly #scheduler: SchedulerClient;
  #count = 0;

  private constructor(server: HostileServer) {
    this.#server = server;
    this.#scheduler = createSchedulerClient({ ip: "127.0.0.1", port: server.port });
  }

  static async open(): Promise<AnswerFuzz> {
    return new AnswerFuzz(await HostileServer.open());
  }

  async run(input: Uint8Array): Promise<void> {
    await this.#ask(input, HASTY);
  }

  /** Who has been lied to before believes good answers. */
  async check(): Promise<void> {
    const heard = [await this.#ask(GOOD_PARENT, PATIENT), await this.#ask(GOOD_SCHEDULER, PATIENT)];
    const kinds = heard.map((events) => events.map(({ kind }) => kind).join());
    assertHolds(kinds[0] === "address,piece", () => `a good parent says ${kinds[0]}`);
    assertHolds(kinds[1] === "parents", () => `a good scheduler says ${kinds[1]}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#clients[Symbol.asyncDispose]();
    await this.#scheduler[Symbol.asyncDispose]();
    await this.#server.close();
  }

  async #ask(input: Uint8Array, patience: Patience): Promise<readonly { readonly kind: string }[]> {
    // By this the server knows which answer is whose.
    const taskId = (this.#count++).toString(16).padStart(64, "0");
    using _answer = this.#server.answerSo(taskId, input);
    return isForParent(new Choices(input))
      ? await this.#askParent(taskId, patience)
      : await this.#askScheduler(taskId, patience);
  }

  async #askParent(taskId: string, patience: Patience): Promise<readonly ParentEvent[]> {
    const channel = new RpcParentChannel({
      clients: this.#clients,
      hostId: HOST_ID,
      policy: { tls: false, plainPeers: true },
      silenceMs: patience.silenceMs,
    });
    const signal = AbortSignal.timeout(patience.answerMs);
    const query = {
      taskId,
      pieceNumbers: PIECE_NUMBERS,
      contentVersion: CONTENT_VERSION,
      sourceDigest: "",
      signal,
    };
    const parent: CandidateParent = {
      peerId: "p",
      hostId: "127.0.0.1-parent",
      hostname: "parent",
      ip: "127.0.0.1",
      port: this.#server.port,
      digests: new Map(),
    };
    const events = await collect(channel.syncPieces(parent, query), "ERR_PARENT", signal);
    for (const [index, event] of events.entries()) assertParentEvent(event, index);
    return events;
  }

  async #askScheduler(taskId: string, patience: Patience): Promise<readonly ScheduleEvent[]> {
    const signal = AbortSignal.timeout(patience.answerMs);
    await using session = new RpcPeerSession(
      this.#scheduler,
      { ...REGISTRATION, taskId },
      { hostId: HOST_ID, dialect: "damselfly", signal, onLost() {} },
    );
    const events = await collect(session.events, "ERR_SCHEDULER", signal);
    for (const event of events) assertScheduleEvent(event);
    return events;
  }
}

/** All that come before an end, or an error that may be. */
async function collect<Event>(
  events: AsyncIterable<Event>,
  code: DaemonError["code"],
  signal: AbortSignal,
): Promise<readonly Event[]> {
  const all: Event[] = [];
  try {
    for await (const event of events) all.push(event);
  } catch (error) {
    if (signal.aborted && error === signal.reason) return all;
    if (!(error instanceof DaemonError)) throw error;
    assertHolds(error.code === code, () => `the code is ${error.code}`);
    assertHolds(error.message.startsWith("Cannot "), () => `the message is ${error.message}`);
  }
  return all;
}

function assertParentEvent(event: ParentEvent, index: number): void {
  assertHolds(
    (event.kind === "address") === (index === 0),
    () => `event ${index} is the ${event.kind}`,
  );
  if (event.kind === "piece") {
    assertHolds(
      Number.isSafeInteger(event.number) && event.length > 0,
      () => `the piece is ${JSON.stringify(event)}`,
    );
  } else if (event.kind === "address") {
    const { ip, ports } = event.address;
    assertHolds(isIP(ip) !== 0, () => `the address is ${ip}`);
    const all = [ports.tcp, ports.grpc, ...(ports.quic ?? [])];
    for (const port of all) if (port !== undefined) assertPort(port);
  }
}

function assertScheduleEvent(event: ScheduleEvent): void {
  if (event.kind !== "parents") return;
  for (const { hostId, ip, port } of event.parents) {
    assertHolds(hostId !== "" && isIP(ip) !== 0, () => `the parent is ${hostId} at ${ip}`);
    assertPort(port);
  }
}

function assertPort(port: number): void {
  assertHolds(port > 0 && port < 65_536, () => `the port is ${port}`);
}

/** Answers calls as inputs say. */
class HostileServer {
  readonly port: number;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #inputs = new Map<string, Uint8Array>();

  private constructor(server: Http2Server, port: number) {
    this.#server = server;
    this.port = port;
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", () => {}); // the daemon may have had enough
      session.once("close", () => this.#sessions.delete(session));
    });
    server.on("stream", (stream) => this.#take(stream));
  }

  static async open(): Promise<HostileServer> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("expected a TCP port");
    return new HostileServer(server, address.port);
  }

  /** Calls about this task are answered so until that is disposed. */
  answerSo(taskId: string, input: Uint8Array): Disposable {
    this.#inputs.set(taskId, input);
    return { [Symbol.dispose]: () => void this.#inputs.delete(taskId) };
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** The first message says which task it is about. */
  #take(stream: ServerHttp2Stream): void {
    stream.on("error", () => {}); // the daemon may have had enough
    let said = "";
    const onData = (chunk: Buffer): void => {
      said += chunk.toString("latin1");
      const input = this.#inputs.get(/[0-9a-f]{64}/.exec(said)?.[0] ?? "");
      if (input === undefined) return;
      stream.off("data", onData);
      stream.resume();
      const choices = new Choices(input);
      const messages = isForParent(choices) ? PARENT_MESSAGES : SCHEDULER_MESSAGES;
      void playAnswer(choices, messages, stream);
    };
    stream.on("data", onData);
  }
}

function isForParent(choices: Choices): boolean {
  return choices.below(2) === 0;
}

async function playAnswer(
  choices: Choices,
  messages: readonly Uint8Array[],
  stream: ServerHttp2Stream,
): Promise<void> {
  const status = choices.below(16) === 15 ? choices.pick([204, 302, 404, 503]) : 200;
  const contentType = choices.below(16) === 15 ? "text/html" : "application/grpc";
  const encoding = choices.below(4) === 3 ? choices.pick(ENCODINGS) : undefined;
  if (stream.destroyed) return;
  stream.respond(
    {
      ":status": status,
      "content-type": contentType,
      ...(encoding === undefined ? {} : { "grpc-encoding": encoding }),
    },
    { waitForTrailers: true, endStream: false },
  );
  const trailers = { "grpc-status": "0", "grpc-message": "" };
  stream.once("wantTrailers", () => {
    if (!stream.destroyed) stream.sendTrailers(trailers);
  });
  for (let step = 0; step < STEP_COUNT_MAX && !stream.destroyed; step++) {
    // What is not said is a good end.
    const kind = choices.isOver ? 7 : choices.below(12);
    if (kind <= 3) stream.write(frameOf(choices.pick(messages), choices));
    else if (kind <= 5) stream.write(frameOf(choices.block(), choices));
    else if (kind === 6) stream.write(choices.block());
    else if (kind <= 8) {
      if (kind === 8) Object.assign(trailers, decodeTrailers(choices));
      stream.end();
      return;
    } else if (kind === 9) {
      stream.close(choices.below(16));
      return;
    } else if (kind === 10) {
      return; // and nothing more comes
    } else {
      for (let turn = choices.below(4); turn >= 0; turn--) await new Promise(setImmediate);
    }
  }
  if (!stream.destroyed) stream.end();
}

/** As servers name the compression of their messages. */
const ENCODINGS = ["gzip", "deflate", "identity", "snappy", "rubbish"] as const;

/** With its flag and length, which may lie. */
function frameOf(plain: Uint8Array, choices: Choices): Buffer {
  const lie = choices.below(16);
  const message = lie === 12 ? gzipSync(plain) : plain;
  const head = Buffer.alloc(5);
  head.writeUInt8(lie === 12 ? 1 : lie === 15 ? choices.byte() : 0);
  head.writeUInt32BE(lie === 14 ? choices.u32() : message.byteLength + (lie === 13 ? 1 : 0), 1);
  return Buffer.concat([head, message]);
}

function decodeTrailers(choices: Choices): Record<string, string> {
  const details = Buffer.from(choices.block()).toString("base64");
  return {
    "grpc-status": choices.pick(["0", "2", "5", "8", "13", "14", "16", "99", "-1", "x", ""]),
    "grpc-message": choices.pick(["", "no", "%", "%zz", "%ff%fe", "a%20b", "x".repeat(300)]),
    ...(details === "" ? {} : { "grpc-status-details-bin": details }),
  };
}

const REGISTRATION: Omit<PeerRegistration, "taskId"> = {
  peerId: "p",
  url: "http://origin.invalid/file",
  tag: "",
  application: "",
  priority: "LEVEL0",
  filteredQueryParams: [],
  contentVersion: CONTENT_VERSION,
  contentLength: 20 * 2 ** 20,
  pieceLength: 4 * 2 ** 20,
  pieceCount: 5,
  concurrentPieceCount: 8,
  needBackToSource: false,
  disableBackToSource: false,
  requestHeader: {},
};

function serializer(
  service: "dfdaemon.v2.DfdaemonUpload" | "scheduler.v2.Scheduler",
  name: string,
): (message: object) => Uint8Array {
  const method = loadService(service).methods.get(name);
  if (method === undefined) throw new RangeError(`Cannot find ${name} of ${service}`);
  return (message) => method.responseSerialize(message);
}

const PORTS = [
  { protocol: "tcp", ports: [4_005] },
  { protocol: "grpc", ports: [4_007] },
  { protocol: "quic", ports: [4_006, 4_009] },
];
const OURS = { version: 1, transports: PORTS, contentVersion: CONTENT_VERSION };
const PARENT_MESSAGES: readonly Uint8Array[] = [
  { ip: "127.0.0.1", extension: OURS },
  { number: 0, offset: 0, length: 4 * 2 ** 20, ip: "127.0.0.1" },
  { number: 4, offset: 16 * 2 ** 20, length: 4 * 2 ** 20, ip: "127.0.0.1", tcpPort: 4_005 },
  { ip: "127.0.0.1", extension: { version: 1, leaving: true } },
  { ip: "127.0.0.1", extension: { ...OURS, contentVersion: "2" } },
].map(serializer("dfdaemon.v2.DfdaemonUpload", "syncPieces"));

const CANDIDATE = {
  id: "q",
  host: { id: "127.0.0.1-q", hostname: "q", ip: "127.0.0.1", port: 4_000 },
  task: { pieces: [{ number: 0, digest: "crc32:1" }] },
};
const SCHEDULER_MESSAGES: readonly Uint8Array[] = [
  { normalTaskResponse: { candidateParents: [CANDIDATE] } },
  { needBackToSourceResponse: { description: "d", extension: { version: 1 } } },
  { emptyTaskResponse: {} },
  { metadataOnlyResponse: {} },
].map(serializer("scheduler.v2.Scheduler", "announcePeer"));

/** What is asked, then an answer: numbers are those of `playAnswer`. */
const start = (asked: number): ChoiceWriter =>
  new ChoiceWriter().byte(asked).byte(0).byte(0).byte(0);
const GOOD_PARENT = start(0).byte(0).byte(0).byte(0).byte(0).byte(1).byte(0).byte(7).finish();
const GOOD_SCHEDULER = start(1).byte(0).byte(0).byte(0).byte(7).finish();

const EXAMPLES: readonly Uint8Array[] = [
  GOOD_PARENT,
  GOOD_SCHEDULER,
  // Pieces of one of Dragonfly's, and one that leaves.
  start(0).byte(0).byte(2).byte(0).byte(7).finish(),
  start(0).byte(0).byte(0).byte(0).byte(0).byte(3).byte(0).byte(7).finish(),
  ...SCHEDULER_MESSAGES.map((_, index) => start(1).byte(0).byte(index).byte(0).byte(10).finish()),
  // The same written out, so that it can be changed.
  ...PARENT_MESSAGES.map((message) => start(0).byte(4).block(message).byte(0).byte(7).finish()),
  ...SCHEDULER_MESSAGES.map((message) => start(1).byte(4).block(message).byte(0).byte(7).finish()),
  start(0).byte(0).byte(0).byte(0).byte(8).block(Buffer.from("details")).byte(4).byte(1).finish(),
  start(1).byte(8).block(Buffer.alloc(0)).byte(2).byte(3).finish(),
  start(1).byte(0).byte(0).byte(0).byte(9).byte(7).finish(),
  new ChoiceWriter().byte(0).byte(0).byte(0).byte(3).byte(0).byte(0).byte(0).byte(12).finish(),
];
