import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import {
  guardOrigin,
  openHttpOrigin,
  type Origin,
  type OriginBody,
  type OriginClock,
  OriginError,
  type OriginErrorCode,
  OriginGuard,
  type OriginRequest,
  type OriginStat,
} from "@damselfly/dfdaemon/testing";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import {
  contentOf,
  createAnswer,
  etagOf,
  type OriginQuestion,
  type WireAnswer,
} from "./origin-answer.ts";
import { decodeScript, type OriginScript, type OriginStep } from "./origin-script.ts";

/**
 * The client of HTTP origins against a server that says anything: bent status lines and headers, wrong lengths and ranges, broken
 * chunks, redirects, bodies that end early, stall or are reset. Every call must end in an `OriginError` or in exactly the bytes that
 * were asked for, of the version that was asked for.
 */
export const origin: FuzzTarget = {
  name: "origin",
  summary: "answers of HTTP origins: an OriginError, or exactly the bytes, in bounded time",
  lengthMax: 2_048,
  groupLength: 128,
  isConcurrent: true,
  open: async () => await OriginFuzz.open(),
};

const CONTENT_LENGTH = 3_000;
const CONTENTS: readonly Buffer[] = [0, 1].map((version) => contentOf(version, CONTENT_LENGTH));
/** Waiting is what most of the time would go into. Milliseconds. */
const LIMITS = { connectMs: 5_000, headersMs: 150, stallMs: 150 };

const CODES: ReadonlySet<OriginErrorCode> = new Set<OriginErrorCode>([
  "ERR_ORIGIN_URL",
  "ERR_ORIGIN_UNREACHABLE",
  "ERR_ORIGIN_TLS",
  "ERR_ORIGIN_REDIRECT_LOOP",
  "ERR_ORIGIN_STATUS",
  "ERR_ORIGIN_CHANGED",
  "ERR_ORIGIN_NO_RANGES",
  "ERR_ORIGIN_TRUNCATED",
  "ERR_ORIGIN_OVERLONG",
  "ERR_ORIGIN_STALLED",
  "ERR_ORIGIN_SUSPENDED",
]);

class OriginFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly dictionary: readonly Uint8Array[] = DICTIONARY;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #client: Origin;
  readonly #port: number;
  /** Scripts that run, by the first part of their URL's path, and what has been sent for each. */
  readonly #plays = new Map<string, Play>();
  #count = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    server.on("connection", (socket) => this.#onConnection(socket));
    // No redirect leads away from here: other hosts are asked of a proxy, which is this server.
    const here = `http://127.0.0.1:${port}`;
    const proxy = { httpProxy: here, httpsProxy: here, noProxy: `127.0.0.1:${port}` };
    this.#client = openHttpOrigin({ userAgent: "fuzz", limits: LIMITS, proxy });
  }

  static async open(): Promise<OriginFuzz> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("expected a TCP port");
    return new OriginFuzz(server, address.port);
  }

  async run(input: Uint8Array): Promise<void> {
    const script = decodeScript(input, CONTENT_LENGTH);
    const name = `i${this.#count++}`;
    // What one script has an origin fail in is not to be held against the others: a guard of its own for each.
    const guard = new OriginGuard({ clock: createClock(), limits: { maxRetries: 1 } });
    const guarded = guardOrigin(this.#client, guard);
    const play: Play = { script, nextAnswer: 0, sent: [] };
    this.#plays.set(name, play);
    const request = { url: `http://127.0.0.1:${this.#port}/${name}/file`, header: {} };
    try {
      let stat: OriginStat | undefined;
      for (const step of script.steps) stat = await take(step, { guarded, request, stat, play });
    } finally {
      guard.close();
      this.#plays.delete(name);
    }
  }

  /** A good origin is read as ever. */
  async check(): Promise<void> {
    const request = { url: `http://127.0.0.1:${this.#port}/good/file`, header: {} };
    // With time enough for a machine that has other things to do.
    await using patient = openHttpOrigin({ userAgent: "fuzz" });
    const stat = await patient.stat(request);
    await using body = await patient.readRange(request, { offset: 100, length: 900 }, stat);
    const bytes = await collect(body);
    assertHolds(bytes.equals(CONTENTS[0]!.subarray(100, 1000)), "a good origin's bytes are wrong");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {}); // the client may have had enough
    socket.once("close", () => this.#sockets.delete(socket));
    let text = "";
    let answering = Promise.resolve();
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const question = text.slice(0, end);
        text = text.slice(end + 4);
        answering = answering.then(() => this.#answer(socket, question));
      }
    });
  }

  async #answer(socket: Socket, text: string): Promise<void> {
    const question = decodeQuestion(text);
    const name = /^\w+ (?:http:\/\/[^/]*)?\/(\w+)/.exec(text)?.[1] ?? "";
    const play = this.#plays.get(name);
    const answer = name === "good" ? GOOD : play?.script.answers[play.nextAnswer++];
    if (answer === undefined) {
      socket.destroy(); // nothing more to be said
      return;
    }
    const wire = createAnswer(answer, question, CONTENTS);
    play?.sent.push(wire);
    const bytes = Buffer.concat([wire.head, wire.body]);
    for (let at = 0; at < bytes.byteLength; at += answer.chunkLength) {
      socket.write(bytes.subarray(at, at + answer.chunkLength));
      if (at + answer.chunkLength < bytes.byteLength) await new Promise(setImmediate);
    }
    if (answer.end === "reset") socket.resetAndDestroy();
    else if (answer.end === "close") socket.end();
  }
}

/** @returns what is known of the file from here on */
async function take(
  step: OriginStep,
  parts: {
    readonly guarded: Origin;
    readonly request: OriginRequest;
    readonly stat: OriginStat | undefined;
    readonly play: Play;
  },
): Promise<OriginStat | undefined> {
  const { guarded, request, stat: known, play } = parts;
  play.sent = [];
  try {
    if (step.do === "stat") return assertStat(await guarded.stat(request));
    if (step.do === "readAll") {
      await using body = await guarded.readAll(request);
      assertStat(body.stat);
      assertWhole(await collect(body), body.stat, play);
      return body.stat;
    }
    const { offset, length } = step;
    const stat = known ?? ASSUMED;
    const hasRange = offset + length <= (stat.contentLength ?? Number.MAX_SAFE_INTEGER);
    if (!hasRange) return known;
    await using body = await guarded.readRange(request, { offset, length }, stat);
    assertRange(await collect(body), { offset, length }, stat, play);
    return known;
  } catch (error) {
    if (!(error instanceof OriginError)) throw error;
    assertHolds(CODES.has(error.code), () => `the code is ${error.code}`);
    assertHolds(error.message.startsWith("Cannot "), () => `the message is ${error.message}`);
    return known;
  }
}

/** Time passes by waiting, at once. */
function createClock(): OriginClock {
  let nowMs = Date.now();
  return {
    now: () => nowMs,
    date: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
    random: () => 0,
  };
}

interface Play {
  readonly script: OriginScript;
  nextAnswer: number;
  /** In the step that runs. */
  sent: WireAnswer[];
}

function decodeQuestion(text: string): OriginQuestion {
  const range = /^range: bytes=(\d+)-(\d+)\r?$/im.exec(text);
  return {
    method: /^\w+/.exec(text)?.[0] ?? "",
    range: range === null ? undefined : { first: Number(range[1]), last: Number(range[2]) },
    ifRange: /^if-range: (.*?)\r?$/im.exec(text)?.[1],
  };
}

function assertStat(stat: OriginStat): OriginStat {
  const { contentLength, etag, lastModified, rangeable, statusCode } = stat;
  const isLength = contentLength === undefined || Number.isSafeInteger(contentLength);
  assertHolds(isLength && (contentLength ?? 0) >= 0, () => `the length is ${contentLength}`);
  assertHolds(!rangeable || etag !== "" || lastModified !== "", "ranges without a validator");
  assertHolds([200, 203, 206, 416].includes(statusCode), () => `the status is ${statusCode}`);
  return stat;
}

/** All of one version, as it was sent: nothing of it is missing where that shows. */
function assertWhole(bytes: Buffer, { contentLength }: OriginStat, { sent }: Play): void {
  const length = bytes.byteLength;
  assertHolds(
    contentLength === undefined || contentLength === length,
    () => `${length} bytes came, ${contentLength} were announced`,
  );
  const answer = sent.at(-1);
  if (answer === undefined) throw new Error("bytes without an answer");
  const isOfVersion = CONTENTS.some((content) => content.subarray(0, length).equals(bytes));
  if (answer.isHonest) {
    assertHolds(isOfVersion, "the bytes are none of the content's");
    assertHolds(length === CONTENT_LENGTH, () => `only ${length} bytes came`);
  }
  // What a bent header makes of a body is its own; but it is what was sent.
  assertHolds(isOfVersion || isOnWire(bytes, answer), "the bytes are not those that were sent");
}

function assertRange(
  bytes: Buffer,
  { offset, length }: { readonly offset: number; readonly length: number },
  stat: OriginStat,
  { sent }: Play,
): void {
  assertHolds(bytes.byteLength === length, () => `${bytes.byteLength} bytes of ${length}`);
  const answer = sent.at(-1);
  if (answer === undefined) throw new Error("bytes without an answer");
  const version = CONTENTS.findIndex((_, index) => etagOf(index) === stat.etag);
  const candidates = version < 0 ? CONTENTS : [CONTENTS[version]!];
  const isRange = candidates.some((content) =>
    content.subarray(offset, offset + length).equals(bytes),
  );
  assertHolds(isRange || !answer.isHonest, () => `other bytes than those of ${stat.etag}`);
  assertHolds(isRange || isOnWire(bytes, answer), "the bytes are not those that were sent");
}

/** Raw answers hold their own bodies, chunked or not: all of their bytes are somewhere in what was sent, in order. */
function isOnWire(bytes: Buffer, { head, body }: WireAnswer): boolean {
  const wire = Buffer.concat([head, body]);
  if (wire.includes(bytes)) return true;
  let position = 0;
  for (const byte of bytes) {
    position = wire.indexOf(byte, position) + 1;
    if (position === 0) return false;
  }
  return true;
}

async function collect(body: OriginBody): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body.content) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** What a range is read by where no stat has told. */
const ASSUMED: OriginStat = {
  contentLength: CONTENT_LENGTH,
  etag: etagOf(0),
  lastModified: "",
  contentVersion: "",
  rangeable: true,
  responseHeader: {},
  statusCode: 200,
  digests: [],
};

const GOOD = decodeScript(Uint8Array.of(0, 0, 0, 0, 0, 0), CONTENT_LENGTH).answers[0]!;

const DICTIONARY: readonly Uint8Array[] = [
  ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "\r\n\r\n", "\r\n"],
  ["content-length: 3000\r\n", "Content-Length: 5, 5\r\n", "content-length: -1\r\n", "0\r\n\r\n"],
  ["transfer-encoding: chunked\r\n", "transfer-encoding: gzip, chunked\r\n", "5\r\nhello\r\n"],
  ["content-range: bytes 0-99/3000\r\n", "content-range: bytes */*\r\n", "bytes 5-4/3000"],
  ['etag: W/"v0"\r\n', 'etag: "v1"\r\n', "last-modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n"],
  ["location: /x\r\n", "connection: close\r\n", "upgrade: h2c\r\n", "content-encoding: gzip\r\n"],
  ["retry-after: 99999999999\r\n", " folded\r\n", "\0", "ffffffffffffffff\r\n", ";ext=1\r\n"],
]
  .flat()
  .map((text) => Buffer.from(text));

const EXAMPLES: readonly Uint8Array[] = createExamples();

function createExamples(): Uint8Array[] {
  // kind, traits, cut (u16), [edits], status, [block], end, location; see `decodeAnswer`.
  const honest = (traits: number, status: number, end = 0, location = 0): number[] => [
    0,
    traits,
    0,
    0,
    status,
    end,
    location,
  ];
  const text =
    'HTTP/1.1 200 OK\r\netag: "v0"\r\ncontent-length: 10\r\n\r\n0123456789HTTP/1.1 404 No\r\n\r\n';
  const raw = Buffer.from(text);
  const steps = { stat: [0], all: [1], range: [2, 0, 100, 3, 231] };
  return [
    [0, ...steps.stat, ...honest(0, 0)],
    [0, ...steps.all, ...honest(0, 0)],
    [0, ...steps.all, ...honest(2, 0)],
    [0, ...steps.all, ...honest(4, 0, 3)],
    [0, ...steps.all, ...honest(0, 4), ...honest(0, 0)],
    [0, ...steps.all, ...honest(0, 9), ...honest(0, 0)],
    [0, ...steps.range, ...honest(0, 0)],
    [0, ...steps.range, ...honest(1, 0)],
    [0, ...steps.range, ...honest(0x18, 0)],
    [1, ...steps.stat, ...steps.range, ...honest(0, 0), ...honest(2, 0)],
    [
      2,
      ...steps.stat,
      ...steps.range,
      ...steps.range,
      ...honest(0, 0),
      ...honest(0, 0),
      ...honest(1, 0),
    ],
    [0, ...steps.all, 2, 0, 0, 0, 0, 0, 9, 0, 3, ...Buffer.from("404"), 0, 0, 0],
    [0, ...steps.all, 3, 0, 0, 0, 0, raw.byteLength >> 8, raw.byteLength & 255, ...raw, 3, 0],
    [0, ...steps.all, 0, 2, 0x10, 1, 0, 3, 0],
    [0, ...steps.range, 0, 0, 0x10, 1, 0, 5, 0],
  ].map((bytes) => Uint8Array.from(bytes));
}
