import { setImmediate, setTimeout } from "node:timers/promises";
import {
  openQuicEndpoint,
  type QuicConnection,
  type QuicEndpoint,
  QuicError,
  type QuicStream,
} from "@damselfly/quic";
import { MemoryNetwork } from "@damselfly/quic/testing";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { TlsIdentity } from "@damselfly/transport";
import {
  ALPN,
  createQuicDownloader,
  type QuicDownloader,
  type QuicPieceServer,
  serveQuic,
} from "@damselfly/transport-quic";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import {
  assertHolds,
  BrokenPromise,
  type FuzzTarget,
  type OpenTarget,
} from "../engine/fuzz-target.ts";
import { assertAnswer, CountingSource, encodeRequest, PIECES, TASK_ID } from "./pieces.ts";

/**
 * Peers with a good certificate and bad manners, at the server of pieces: rubbish on streams, requests cut in two, streams opened by the
 * hundred, reset, stopped and never read, connections closed at odd moments, tickets that were bent. What they are answered must be right;
 * everything they leave behind must go; and a good peer is served all the while.
 */
export const quicSessions: FuzzTarget = {
  name: "quic-sessions",
  summary:
    "sessions of hostile QUIC peers: answers are right, nothing of them stays, others are served",
  unit: "sessions",
  lengthMax: 1_024,
  groupLength: 64,
  isConcurrent: true,
  open: async () => await SessionFuzz.open(),
};

const SERVER = { ip: "127.0.0.1", port: 4006 };
const HOSTILE_COUNT = 64;
const STEP_COUNT_MAX = 24;
const STREAM_COUNT_MAX = 2_100;
const RESPONSE_LENGTH_MAX = 400_000;
/** What is left of a session when it is over goes within this: where packets take seconds, an idle timeout is ten times as long. Milliseconds. */
const SETTLE_MS = 50_000;

class SessionFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly dictionary: readonly Uint8Array[] = [encodeRequest(2), encodeRequest(3)];
  readonly #source: CountingSource;
  readonly #server: QuicPieceServer;
  readonly #warnings: string[];
  readonly #hostiles: QuicEndpoint[];
  readonly #good: QuicDownloader;
  #count = 0;

  private constructor(parts: {
    readonly source: CountingSource;
    readonly server: QuicPieceServer;
    readonly warnings: string[];
    readonly hostiles: QuicEndpoint[];
    readonly good: QuicDownloader;
  }) {
    this.#source = parts.source;
    this.#server = parts.server;
    this.#warnings = parts.warnings;
    this.#hostiles = parts.hostiles;
    this.#good = parts.good;
  }

  static async open(): Promise<SessionFuzz> {
    const network = new MemoryNetwork();
    const authority = await createTestAuthority();
    const source = new CountingSource();
    const warnings: string[] = [];
    const server = await serveQuic({
      source,
      address: SERVER,
      tls: await authority.issue(),
      udp: network.open,
      packetLength: 1350,
      idleTimeoutMs: 2_000,
      logger: { warn: (_fields, message) => void warnings.push(message), debug: () => undefined },
    });
    const tls = await authority.issue();
    const hostiles: QuicEndpoint[] = [];
    for (let count = 0; count < HOSTILE_COUNT; count++) {
      hostiles.push(await openHostile(network, tls));
    }
    const good = createQuicDownloader({ tls, udp: network.open, packetLength: 1350 });
    return new SessionFuzz({ source, server, warnings, hostiles, good });
  }

  async run(input: Uint8Array): Promise<void> {
    const endpoint = this.#hostiles[this.#count++ % HOSTILE_COUNT];
    if (endpoint === undefined) throw new Error("there is no hostile peer");
    const session = new Session(endpoint, new Choices(input));
    await session.run();
  }

  async check(): Promise<void> {
    const piece = await this.#good.downloadPiece(
      { hostId: "server", ip: SERVER.ip, ports: { quic: [SERVER.port] } },
      { taskId: TASK_ID, pieceNumber: 4 },
    );
    const chunks: Buffer[] = [];
    for await (const chunk of piece.content) chunks.push(Buffer.from(chunk));
    assertHolds(Buffer.concat(chunks).equals(PIECES[4]!), "a good peer gets other bytes");
    assertHolds(this.#warnings.length === 0, () => `the log says ${this.#warnings.join("; ")}`);
    const isQuiet = (): boolean =>
      this.#server.requestCount === 0 &&
      this.#source.openCount === 0 &&
      this.#server.stats().connectionCount <= 1 &&
      this.#hostiles.every((hostile) => hostile.stats().drainingConnectionCount === 0);
    for (const endMs = Date.now() + SETTLE_MS; !isQuiet() && Date.now() < endMs;) {
      await setTimeout(50);
    }
    assertHolds(isQuiet(), () => this.#describeRest());
  }

  #describeRest(): string {
    const { requestCount } = this.#server;
    const { connectionCount, ...stats } = this.#server.stats();
    const hostiles = this.#hostiles.map((hostile) => hostile.stats());
    const about = {
      good: this.#good.connectionCount,
      hostile: hostiles.reduce((sum, each) => sum + each.connectionCount, 0),
      closing: hostiles.reduce((sum, each) => sum + each.drainingConnectionCount, 0),
      ...stats,
    };
    return `${requestCount} requests, ${this.#source.openCount} pieces and ${connectionCount} connections are left over (${JSON.stringify(about)})`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#good[Symbol.asyncDispose]();
    for (const hostile of this.#hostiles) await hostile.abort();
    await this.#server.abort();
  }
}

async function openHostile(network: MemoryNetwork, tls: TlsIdentity): Promise<QuicEndpoint> {
  return await openQuicEndpoint({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: ALPN,
    tls,
    udp: network.open,
    packetLength: 1350,
    earlyData: true,
    idleTimeoutMs: 2_000,
    limits: { connectionCountMax: 10_000 },
  });
}

/** One connection, or a few, of one hostile peer. */
class Session {
  readonly #endpoint: QuicEndpoint;
  readonly #choices: Choices;
  readonly #streams: QuicStream[] = [];
  /** Those that a good question was asked on: what comes on them is read by whoever asked. */
  readonly #asked = new Set<QuicStream>();
  readonly #work: Promise<void>[] = [];
  #connection: QuicConnection | undefined;
  #openedCount = 0;

  constructor(endpoint: QuicEndpoint, choices: Choices) {
    this.#endpoint = endpoint;
    this.#choices = choices;
  }

  async run(): Promise<void> {
    try {
      this.#connection = await this.#endpoint.dial(SERVER);
      for (let step = 0; step < STEP_COUNT_MAX && !this.#choices.isOver; step++) await this.#step();
      await setImmediate();
    } catch (error) {
      assertExpected(error);
    } finally {
      this.#connection?.close(0);
    }
    // What still waits hears that it is over.
    await Promise.all(this.#work);
  }

  get #open(): QuicConnection {
    if (this.#connection === undefined) throw new Error("nothing has been dialled");
    return this.#connection;
  }

  async #step(): Promise<void> {
    const choices = this.#choices;
    switch (choices.below(16)) {
      case 0:
        this.#ask(choices.below(PIECES.length), undefined);
        break;
      case 1:
        this.#ask(choices.below(PIECES.length), {
          offset: choices.u16(),
          length: choices.u32() + 1,
        });
        break;
      case 2:
        this.#background(this.#openStream()?.end(choices.block()));
        break;
      case 3:
        this.#background(this.#openStream()?.write(choices.block()));
        break;
      case 4:
        this.#background(this.#stream?.write(choices.block()));
        break;
      case 5:
        this.#background(this.#stream?.end(choices.block()));
        break;
      case 6:
        this.#stream?.reset(choices.u16());
        break;
      case 7:
        this.#stream?.stopReading(choices.u16());
        break;
      case 8: {
        const stream = this.#stream;
        const length = 1 + choices.u16();
        if (stream === undefined || this.#asked.has(stream)) break;
        this.#background(stream.read(Buffer.alloc(length)).then(() => {}));
        break;
      }
      case 9:
        this.#flood(1 + choices.below(choices.below(8) === 7 ? STREAM_COUNT_MAX : 32));
        break;
      case 10:
        this.#background(this.#openStream()?.write(Buffer.alloc(choices.u16() * 4)));
        break;
      case 11:
        this.#open.close(choices.u16(), choices.below(2) === 0 ? "" : "enough");
        break;
      case 12:
        await this.#dialAgain(choices.below(4));
        break;
      case 13: {
        const request = encodeRequest(choices.below(PIECES.length));
        const cut = choices.below(request.byteLength);
        const stream = this.#openStream();
        this.#background(stream?.write(request.subarray(0, cut)));
        break;
      }
      default:
        for (let turn = choices.below(4); turn >= 0; turn--) await setImmediate();
    }
  }

  /** Any of those that are open, or have been. */
  get #stream(): QuicStream | undefined {
    if (this.#streams.length === 0) return undefined;
    return this.#choices.pick(this.#streams);
  }

  #openStream(): QuicStream | undefined {
    if (!this.#open.isOpen || this.#openedCount >= STREAM_COUNT_MAX) return undefined;
    const stream = this.#open.openStream();
    this.#openedCount++;
    this.#streams.push(stream);
    return stream;
  }

  /** Asks as a good child does, and holds the server to its answer. */
  #ask(
    pieceNumber: number,
    range: { readonly offset: number; readonly length: number } | undefined,
  ): void {
    const stream = this.#openStream();
    if (stream === undefined) return;
    this.#asked.add(stream);
    const whole = { offset: 0, length: Number.MAX_SAFE_INTEGER };
    this.#background(stream.end(encodeRequest(pieceNumber, range)));
    this.#background(readAnswer(stream, { pieceNumber, ...(range ?? whole) }));
  }

  #flood(count: number): void {
    for (let opened = 0; opened < count; opened++) {
      const stream = this.#openStream();
      if (stream === undefined) return;
      this.#background(stream.write(Buffer.of(0)));
    }
  }

  /** With a ticket: as it is, bent, cut off, or another endpoint's. */
  async #dialAgain(how: number): Promise<void> {
    const { ticket } = this.#open;
    this.#open.close(0);
    this.#streams.length = 0;
    const bent = ticket === undefined ? undefined : Buffer.from(ticket);
    if (bent !== undefined && how === 1) bent[this.#choices.below(bent.byteLength)]! ^= 1;
    const given = how === 2 ? bent?.subarray(0, this.#choices.below(bent.byteLength)) : bent;
    this.#connection = await this.#endpoint.dial(
      SERVER,
      given === undefined ? {} : { ticket: given },
    );
  }

  /** A connection that ends, for whatever reason, is no news; a wrong answer is. */
  #background(work: Promise<void> | undefined): void {
    if (work !== undefined) this.#work.push(work.catch(assertExpected));
  }
}

function assertExpected(error: unknown): void {
  if (error instanceof QuicError) return;
  // One reader and one writer a stream: the session does not keep to it.
  if (error instanceof Error && /another (read|write) is waiting/.test(error.message)) return;
  throw error;
}

async function readAnswer(
  stream: QuicStream,
  asked: { readonly pieceNumber: number; readonly offset: number; readonly length: number },
): Promise<void> {
  const chunks: Buffer[] = [];
  let length = 0;
  let isEnded = false;
  try {
    while (length < RESPONSE_LENGTH_MAX) {
      const buffer = Buffer.alloc(65_536);
      const count = await stream.read(buffer);
      isEnded = count === 0;
      if (isEnded) break;
      chunks.push(buffer.subarray(0, count));
      length += count;
    }
  } catch (error) {
    assertExpected(error);
  }
  const answer = Buffer.concat(chunks);
  const right = assertAnswer(answer, asked);
  if (right.length < answer.byteLength) {
    throw new BrokenPromise(`${answer.byteLength - right.length} bytes follow the answer`);
  }
  // Other steps of the session may have read some of it, or stopped it.
  assertHolds(!isEnded || right.isWhole || answer.byteLength === 0, "the answer ends too early");
}

/** Numbers are those of `#step`. */
const EXAMPLES: readonly Uint8Array[] = [
  Uint8Array.of(0, 2),
  Uint8Array.of(0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 15, 3),
  new ChoiceWriter().byte(1).byte(3).u16(1_000).u32(500).byte(15).byte(3).finish(),
  new ChoiceWriter().byte(1).byte(2).u16(2_000).u32(500).byte(15).byte(3).finish(),
  new ChoiceWriter().byte(2).block(Buffer.from("rubbish")).byte(15).byte(1).finish(),
  new ChoiceWriter().byte(2).block(encodeRequest(7)).byte(15).byte(1).finish(),
  new ChoiceWriter()
    .byte(3)
    .block(encodeRequest(2))
    .byte(6)
    .byte(0)
    .u16(1)
    .byte(15)
    .byte(2)
    .finish(),
  Uint8Array.of(0, 4, 15, 2, 7, 0, 0, 1, 15, 2),
  Uint8Array.of(0, 4, 15, 1, 11, 0, 5, 1),
  Uint8Array.of(0, 3, 8, 0, 0, 16, 15, 2),
  Uint8Array.of(9, 30, 0, 15, 1),
  Uint8Array.of(9, 7, 8, 0, 15, 3, 15, 3),
  Uint8Array.of(10, 255, 255, 15, 1),
  Uint8Array.of(0, 2, 15, 3, 12, 0, 0, 2, 15, 3),
  Uint8Array.of(0, 2, 15, 3, 12, 1, 50, 0, 2, 15, 3),
  Uint8Array.of(0, 2, 15, 3, 12, 2, 50, 0, 2, 15, 3),
  Uint8Array.of(13, 2, 40, 15, 1, 5, 0, 0, 0),
];
