import { once } from "node:events";
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { gzipSync } from "node:zlib";
import { loadService, type ServiceName } from "@damselfly/rpc";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import { assertHolds, BrokenPromise } from "../engine/fuzz-target.ts";

/** A service, and where it is served. */
export interface CalledService {
  readonly name: ServiceName;
  readonly authority: string;
  readonly socketPath?: string | undefined;
  /** Good requests, by the method's name. */
  readonly messages: Readonly<Record<string, readonly object[]>>;
  /** The same where callers send one after the other: three of them. */
  readonly conversations?: Readonly<Record<string, readonly (readonly object[])[]>>;
}

/** Streams that go on until their caller leaves. Milliseconds. */
const PATIENCE_MS = 300;
/** A call whose caller has said all must have a status by then. Milliseconds. */
const ANSWER_MS = 20_000;
/** As callers name the compression of their messages; the last one is none. */
const ENCODINGS = ["gzip", "deflate", "identity", "snappy", "rubbish"] as const;

/** Calls services with anything: any bytes, framed as gRPC does or not, compressed or said to be. */
export class RpcCaller implements Disposable {
  readonly examples: readonly Uint8Array[];
  readonly #services: readonly CalledService[];
  readonly #methods: readonly (readonly string[])[];
  readonly #sessions: ClientHttp2Session[];

  constructor(services: readonly CalledService[]) {
    this.#services = services;
    this.#methods = services.map(({ name }) =>
      [...loadService(name).methods.values()].map(({ path }) => path),
    );
    this.#sessions = services.map(openSession);
    this.examples = services.flatMap(createExamples);
  }

  /** @throws {BrokenPromise} where a call ends in no status, or in one that no handler of ours says */
  async call(input: Uint8Array): Promise<void> {
    const choices = new Choices(input);
    const index = choices.below(this.#services.length);
    const method = choices.below(32) === 31 ? "GET" : "POST";
    const path = decodePath(choices, this.#methods[index] ?? []);
    const contentType = choices.below(16) === 15 ? "application/json" : "application/grpc";
    const timeout = choices.below(8) === 7 ? { "grpc-timeout": decodeTimeout(choices) } : {};
    const frames = decodeFrames(choices);
    const isLeftOpen = choices.below(16) === 15;
    const isEncoded = choices.below(8) === 7;
    const encoding = isEncoded ? { "grpc-encoding": choices.pick(ENCODINGS) } : {};
    const stream = this.#session(index).request({
      ":method": method,
      ":path": path,
      "content-type": contentType,
      te: "trailers",
      ...timeout,
      ...encoding,
    });
    await callWith(stream, frames, { isLeftOpen });
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** What has broken the protocol has cost its connection. */
  #session(index: number): ClientHttp2Session {
    const session = this.#sessions[index];
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const opened = openSession(this.#services[index]!);
    this.#sessions[index] = opened;
    return opened;
  }
}

function openSession({ authority, socketPath }: CalledService): ClientHttp2Session {
  const session = connect(authority, socketPath === undefined ? {} : { path: socketPath });
  session.on("error", () => {}); // its calls hear of it
  return session;
}

function decodePath(choices: Choices, methods: readonly string[]): string {
  const which = choices.byte();
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
    const plain = Buffer.from(choices.block());
    const lie = choices.below(16);
    const message = lie === 12 ? gzipSync(plain) : plain;
    const head = Buffer.alloc(5);
    head.writeUInt8(lie === 12 ? 1 : lie === 15 ? choices.byte() : 0);
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
  if (!(await isOverWithin(closed, PATIENCE_MS))) {
    // Unless nothing has been said yet, it is one of those that go on.
    const isLate = !isAnswered && !isLeftOpen && !(await isOverWithin(closed, ANSWER_MS));
    stream.close(constants.NGHTTP2_CANCEL);
    if (isLate && !isAnswered)
      throw new BrokenPromise(`nothing was answered within ${ANSWER_MS} ms`);
    await closed;
  }
  if (statusText === undefined) return;
  const status = Number(statusText);
  assertHolds(status >= 0 && status <= 16, () => `the status is ${String(statusText)}`);
  // 2 is UNKNOWN, which no handler of ours says.
  assertHolds(status !== 2, "the status is UNKNOWN");
}

/** Leaves no timer behind, which would keep the process. */
async function isOverWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const isOver = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isOver;
}

function createExamples(service: CalledService, index: number): Uint8Array[] {
  const { name, messages, conversations = {} } = service;
  const plain = [...loadService(name).methods].flatMap(([methodName, method], methodIndex) => {
    const alone = (messages[methodName] ?? [{}]).map((message) => [message]);
    return [...alone, ...(conversations[methodName] ?? [])].map((said) => {
      const writer = new ChoiceWriter().byte(index).byte(0).byte(methodIndex).byte(0).byte(0);
      writer.byte(said.length === 1 ? 0 : 7);
      for (const message of said) writer.block(method.requestSerialize(message)).byte(0);
      return writer.byte(0).byte(0).finish();
    });
  });
  const compressed = new ChoiceWriter().byte(index).byte(0).byte(0).byte(0).byte(0).byte(0);
  compressed.block(Buffer.from("rubbish")).byte(12).byte(0).byte(7).byte(0);
  return [...plain, compressed.finish()];
}

/** What protobuf and its readers trip over. */
export const PROTOBUF_WORDS: readonly Uint8Array[] = [
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
