import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { createHealthClient, serveRpc, type RpcServer } from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { createTcpDownloader, serveTcp, type TcpPieceServer } from "@damselfly/transport-tcp";
import { decodePacket, Tag, VortexError } from "@damselfly/vortex";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import {
  assertHolds,
  BrokenPromise,
  type FuzzTarget,
  type OpenTarget,
} from "../engine/fuzz-target.ts";
import { assertAnswer, CountingSource, encodeRequest, PIECES, TASK_ID } from "./pieces.ts";

/**
 * Bytes of any kind at the TCP ports of a daemon, with and without certificates: the one for pieces, and the one for gRPC, which tells by
 * the first bytes what is spoken. Requests for pieces are answered right and in order, as far as they go; every connection comes to its
 * end when its other side has gone; and good clients are served all the while.
 */
export const tcpPorts: FuzzTarget = {
  name: "tcp-ports",
  summary:
    "bytes at the TCP ports for gRPC and pieces: answers are right, connections end, others are served",
  unit: "connections",
  lengthMax: 2_048,
  // A handshake that stops half-way is waited for, ten seconds.
  groupLength: 128,
  isConcurrent: true,
  open: async () => await PortFuzz.open(),
};

const STEP_COUNT_MAX = 12;
/** Twice what a handshake may take: what has not ended by then is not going to. Milliseconds. */
const END_MS = 20_000;
/** How long a connection is left as it is before it is cut, while others come and go. Milliseconds. */
const LEFT_MS = 200;
const RESPONSE_LENGTH_MAX = 2_000_000;

/** A frame of type 7, without flags, of stream 0 (RFC 9113, section 6.8). */
const GOAWAY = Buffer.from("070000000000", "hex");

interface Port {
  readonly port: number;
  /** Nothing else is spoken there. */
  readonly servesPieces: boolean;
  /** Whether plain Vortex is answered there. */
  readonly servesPlain: boolean;
}

class PortFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[] = [
    encodeRequest(2),
    encodeRequest(3, { offset: 5, length: 10 }),
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Buffer.from("1603010005", "hex"),
    Buffer.from("000000040000000000", "hex"),
  ];
  readonly #source: CountingSource;
  readonly #servers: readonly (TcpPieceServer | RpcServer)[];
  readonly #ports: readonly Port[];
  readonly #warnings: readonly string[];

  private constructor(parts: {
    readonly source: CountingSource;
    readonly servers: readonly (TcpPieceServer | RpcServer)[];
    readonly ports: readonly Port[];
    readonly hellos: readonly Buffer[];
    readonly warnings: readonly string[];
  }) {
    this.#source = parts.source;
    this.#servers = parts.servers;
    this.#ports = parts.ports;
    this.#warnings = parts.warnings;
    this.examples = createExamples(parts.hellos);
  }

  static async open(): Promise<PortFuzz> {
    const address = { ip: "127.0.0.1", port: 0 };
    const tls = await (await createTestAuthority()).issue();
    const source = new CountingSource();
    const warnings: string[] = [];
    const logger = {
      debug: () => undefined,
      info: () => undefined,
      warn: (_fields: object, message: string) => {
        // Said once, of what is meant to be said.
        if (!message.startsWith("Cannot serve a connection: ")) warnings.push(message);
      },
      error: (_fields: object, message: string) => void warnings.push(message),
    };
    const connectionsPerSecondMax = 1e6; // how they are held back is tested elsewhere
    const common = { source, address, idleMs: 3_000, connectionsPerSecondMax, logger };
    const limits = { connectionsPerSecondMax, halfOpenMs: 3_000 };
    const plain = await serveTcp({ ...common, plain: true });
    const both = await serveTcp({ ...common, plain: true, tls });
    const plainRpc = await serveRpc({ address, services: [], foreign: plain, limits, logger });
    const secureRpc = await serveRpc({ address, services: [], tls, limits, logger });
    const servers = [plain, both, plainRpc, secureRpc];
    const ports = servers.map((server) => ({
      port: "port" in server.address ? server.address.port : 0,
      servesPieces: server === plain || server === both,
      servesPlain: server !== secureRpc,
    }));
    const hellos = [await recordHello("tls"), await recordHello("http2")];
    return new PortFuzz({ source, servers, ports, hellos, warnings });
  }

  async run(input: Uint8Array): Promise<void> {
    const choices = new Choices(input);
    const { port, servesPieces, servesPlain } = choices.pick(this.#ports);
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const sent: Buffer[] = [];
    const received: Buffer[] = [];
    let receivedLength = 0;
    socket.setNoDelay(true);
    socket.on("error", () => {}); // it may have had enough of us
    socket.on("data", (chunk: Buffer) => {
      received.push(chunk);
      receivedLength += chunk.byteLength;
      // Node's HTTP/2 leaves the connection to the other side from there on, and notices its end only by a ping.
      const isFarewell = !servesPieces && chunk.includes(GOAWAY);
      if (isFarewell || receivedLength > RESPONSE_LENGTH_MAX) socket.destroy();
    });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await new Promise((resolve) => {
      socket.once("connect", resolve);
      socket.once("close", resolve);
    });
    const end = await play(choices, socket, sent);
    if (end === "end") socket.end();
    if (end === "left") setTimeout(() => socket.destroy(), LEFT_MS);
    await assertClosed(closed, socket);
    if (servesPlain) assertAnswers(Buffer.concat(received), Buffer.concat(sent));
  }

  async check(): Promise<void> {
    const [plain, both, plainRpc] = this.#ports;
    for (const { port } of [plain!, both!]) {
      await using downloader = createTcpDownloader();
      const parent = { hostId: "server", ip: "127.0.0.1", ports: { tcp: port } };
      await using piece = await downloader.downloadPiece(parent, {
        taskId: TASK_ID,
        pieceNumber: 3,
      });
      const chunks: Buffer[] = [];
      for await (const chunk of piece.content) chunks.push(Buffer.from(chunk));
      assertHolds(Buffer.concat(chunks).equals(PIECES[3]!), "a good child gets other bytes");
    }
    await using health = createHealthClient({ ip: "127.0.0.1", port: plainRpc!.port });
    const { status } = await health.check({});
    assertHolds(status === "SERVING", () => `the health is ${status}`);
    assertHolds(this.#warnings.length === 0, () => `the log says ${this.#warnings.join("; ")}`);
    assertHolds(this.#source.openCount === 0, () => `${this.#source.openCount} pieces are open`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.abort();
  }
}

/** Sends what the choices say. @returns how it is left */
async function play(
  choices: Choices,
  socket: Socket,
  sent: Buffer[],
): Promise<"end" | "gone" | "left"> {
  for (let step = 0; step < STEP_COUNT_MAX && !choices.isOver; step++) {
    switch (choices.below(8)) {
      case 0:
      case 1:
        send(socket, sent, Buffer.from(choices.block()));
        break;
      case 2:
        send(socket, sent, Buffer.from(encodeRequest(choices.below(PIECES.length))));
        break;
      case 3: {
        const range = { offset: choices.u16(), length: 1 + choices.u32() };
        send(socket, sent, Buffer.from(encodeRequest(choices.below(PIECES.length), range)));
        break;
      }
      case 4: {
        const request = encodeRequest(choices.below(PIECES.length + 1));
        send(socket, sent, Buffer.from(request.subarray(0, choices.below(request.byteLength + 1))));
        break;
      }
      case 5:
        if (choices.below(4) !== 0) break;
        socket.resetAndDestroy();
        return "gone";
      case 6:
        if (choices.below(8) === 0) return "left";
        break;
      default:
        for (let turn = choices.below(8); turn >= 0; turn--) await new Promise(setImmediate);
    }
  }
  return "end";
}

function send(socket: Socket, sent: Buffer[], bytes: Buffer): void {
  if (bytes.byteLength === 0 || socket.destroyed || socket.writableEnded) return;
  sent.push(bytes);
  socket.write(bytes);
}

async function assertClosed(closed: Promise<unknown>, socket: Socket): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, END_MS, "late");
  });
  const first = await Promise.race([closed, late]);
  clearTimeout(timer);
  if (first !== "late") return;
  socket.destroy();
  throw new BrokenPromise(`the connection is still there ${END_MS} ms after its end`);
}

/** The answers to the requests that were sent, in their order; from the first bytes that are none nothing more is said. */
function assertAnswers(received: Buffer, sent: Buffer): void {
  let rest = received;
  // gRPC's server has words of its own for those who speak neither, or HTTP/2.
  if (!beginsAsRequest(sent)) return;
  for (const asked of decodeRequests(sent)) {
    if (rest.byteLength === 0) return;
    const { length, isWhole } = assertAnswer(rest, asked);
    rest = rest.subarray(length);
    if (!isWhole) break;
  }
  assertHolds(rest.byteLength === 0, () => `${rest.byteLength} bytes answer nothing`);
}

function beginsAsRequest(sent: Buffer): boolean {
  return sent.byteLength >= 6 && LENGTHS.get(sent[1] ?? 0) === sent.readUInt32BE(2);
}

const LENGTHS: ReadonlyMap<number, number> = new Map([
  [Tag.DownloadPiece, 68],
  [Tag.DownloadPersistentPiece, 68],
  [Tag.DownloadPersistentCachePiece, 68],
  [Tag.DownloadPieceRange, 84],
]);

function* decodeRequests(
  sent: Buffer,
): Generator<{ readonly pieceNumber: number; readonly offset: number; readonly length: number }> {
  for (let at = 0; at + 6 <= sent.byteLength;) {
    const length = LENGTHS.get(sent[at + 1] ?? 0);
    if (length === undefined || sent.readUInt32BE(at + 2) !== length) return;
    const end = at + 6 + length;
    if (end > sent.byteLength) return;
    try {
      const packet = decodePacket(sent.subarray(at, end));
      if (packet.kind === "request") {
        yield { pieceNumber: packet.pieceNumber, offset: 0, length: Number.MAX_SAFE_INTEGER };
      } else if (packet.kind === "range-request" && packet.length > 0) {
        yield packet;
      } else return;
    } catch (error) {
      if (error instanceof VortexError) return;
      throw error;
    }
    at = end;
  }
}

/** What a good client says first. */
async function recordHello(kind: "tls" | "http2"): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a TCP port");
  const { port } = address;
  const client =
    kind === "tls"
      ? connectTls({ port, host: "127.0.0.1", ALPNProtocols: ["h2"], rejectUnauthorized: false })
      : connectHttp2(`http://127.0.0.1:${port}`);
  client.on("error", () => {}); // nobody answers
  if ("request" in client) {
    const call = client.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    });
    call.on("error", () => {});
    call.end(Buffer.alloc(5));
  }
  const socket = await new Promise<Socket>((resolve) => server.once("connection", resolve));
  socket.on("error", () => {});
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "data");
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  client.destroy();
  socket.destroy();
  server.close();
  await once(server, "close");
  return Buffer.concat(chunks);
}

/** Numbers are those of `play`. */
function createExamples(hellos: readonly Buffer[]): Uint8Array[] {
  const at = (port: number): ChoiceWriter => new ChoiceWriter().byte(port);
  return [0, 1, 2, 3].flatMap((port) => [
    at(port).byte(2).byte(2).byte(7).byte(7).finish(),
    at(port).byte(2).byte(1).byte(2).byte(3).byte(2).byte(4).byte(7).byte(7).finish(),
    at(port).byte(3).u16(100).u32(500).byte(3).byte(7).byte(7).finish(),
    at(port).byte(4).byte(2).byte(40).byte(7).byte(1).byte(6).byte(1).finish(),
    at(port).byte(2).byte(4).byte(7).byte(2).byte(5).byte(0).finish(),
    at(port).byte(0).block(Buffer.from("GET / HTTP/1.1\r\n\r\n")).finish(),
    at(port).byte(0).block(Buffer.of(0x16, 3)).finish(),
    ...hellos.flatMap((hello) => [
      at(port).byte(0).block(hello).byte(7).byte(7).finish(),
      at(port)
        .byte(0)
        .block(hello.subarray(0, 40))
        .byte(7)
        .byte(1)
        .byte(0)
        .block(hello.subarray(40))
        .finish(),
    ]),
  ]);
}
