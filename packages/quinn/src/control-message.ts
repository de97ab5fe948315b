/**
 * What the two sides tell each other on the connection's first stream. The native layer carries no codes, and cannot
 * stop a read that waits: both go by this way.
 */
export type ControlMessage =
  /** The first of either side. */
  | {
      readonly kind: "hello";
      readonly alpn: string;
      /** Streams that the other side may have open. */
      readonly streamCountMax: number;
      readonly idleTimeoutMs: number;
    }
  /** The sender has ended its side of the stream abruptly. */
  | { readonly kind: "reset"; readonly stream: StreamRef; readonly code: number }
  /** The sender does not want what the other side writes. */
  | { readonly kind: "stop"; readonly stream: StreamRef; readonly code: number }
  /** The sender has read the stream to its end. */
  | { readonly kind: "received"; readonly stream: StreamRef }
  /** Asks for nothing but an acknowledgement, which the transport gives. */
  | { readonly kind: "ping" }
  /** The sender has closed the connection. The other side ends it as soon as it reads this. */
  | {
      readonly kind: "close";
      readonly isApplication: boolean;
      readonly code: number;
      readonly text: string;
    };

/** A stream by its side and its place among those of that side. */
export interface StreamRef {
  readonly index: number;
  readonly isDiallers: boolean;
}

const MAGIC = Buffer.from("DFQ1");
const TEXT_LENGTH_MAX = 1024;

const Kind = { Hello: 0, Reset: 1, Stop: 2, Received: 3, Ping: 4, Close: 5 } as const;

/** Integers are big-endian; codes are doubles, which hold every code that the interface allows. */
export function encodeMessage(message: ControlMessage): Uint8Array {
  switch (message.kind) {
    case "hello": {
      const alpn = Buffer.from(message.alpn);
      const head = Buffer.alloc(14);
      head[0] = Kind.Hello;
      MAGIC.copy(head, 1);
      head.writeUInt32BE(message.streamCountMax, 5);
      head.writeUInt32BE(message.idleTimeoutMs, 9);
      head[13] = alpn.byteLength;
      return Buffer.concat([head, alpn]);
    }
    case "reset":
    case "stop": {
      const bytes = Buffer.alloc(14);
      writeRef(bytes, message.kind === "reset" ? Kind.Reset : Kind.Stop, message.stream);
      bytes.writeDoubleBE(message.code, 6);
      return bytes;
    }
    case "received": {
      const bytes = Buffer.alloc(6);
      writeRef(bytes, Kind.Received, message.stream);
      return bytes;
    }
    case "close": {
      const text = Buffer.from(message.text).subarray(0, TEXT_LENGTH_MAX);
      const head = Buffer.alloc(12);
      head[0] = Kind.Close;
      head[1] = message.isApplication ? 1 : 0;
      head.writeDoubleBE(message.code, 2);
      head.writeUInt16BE(text.byteLength, 10);
      return Buffer.concat([head, text]);
    }
    case "ping":
      break;
  }
  return Uint8Array.of(Kind.Ping);
}

/** Takes bytes as they come and gives messages; never holds more than one message and one chunk. */
export class ControlDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws {RangeError} if the bytes are no messages: the peer is not one of ours */
  push(bytes: Uint8Array): ControlMessage[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const messages: ControlMessage[] = [];
    for (;;) {
      const decoded = decode(this.#rest);
      if (decoded === undefined) return messages;
      messages.push(decoded.message);
      this.#rest = this.#rest.subarray(decoded.length);
    }
  }
}

interface Decoded {
  readonly message: ControlMessage;
  readonly length: number;
}

function decode(bytes: Buffer): Decoded | undefined {
  const has = (length: number): boolean => bytes.byteLength >= length;
  switch (bytes[0]) {
    case undefined:
      return undefined;
    case Kind.Hello: {
      if (!has(14)) return undefined;
      if (MAGIC.compare(bytes, 1, 5) !== 0) throw broken("it greets in another language");
      const length = 14 + (bytes[13] ?? 0);
      if (!has(length)) return undefined;
      const [streamCountMax, idleTimeoutMs] = [bytes.readUInt32BE(5), bytes.readUInt32BE(9)];
      const alpn = bytes.toString("utf8", 14, length);
      return { message: { kind: "hello", alpn, streamCountMax, idleTimeoutMs }, length };
    }
    case Kind.Reset:
    case Kind.Stop: {
      if (!has(14)) return undefined;
      const kind = bytes[0] === Kind.Reset ? "reset" : "stop";
      const stream = readRef(bytes);
      return { message: { kind, stream, code: readCode(bytes, 6) }, length: 14 };
    }
    case Kind.Received:
      return has(6)
        ? { message: { kind: "received", stream: readRef(bytes) }, length: 6 }
        : undefined;
    case Kind.Ping:
      return { message: { kind: "ping" }, length: 1 };
    case Kind.Close: {
      if (!has(12)) return undefined;
      const textLength = bytes.readUInt16BE(10);
      if (textLength > TEXT_LENGTH_MAX) throw broken(`a text of ${textLength} bytes`);
      const length = 12 + textLength;
      if (!has(length)) return undefined;
      const code = readCode(bytes, 2);
      const text = bytes.toString("utf8", 12, length);
      return { message: { kind: "close", isApplication: bytes[1] === 1, code, text }, length };
    }
    default:
      throw broken(`a message of kind ${bytes[0]}`);
  }
}

function writeRef(bytes: Buffer, kind: number, { index, isDiallers }: StreamRef): void {
  bytes[0] = kind;
  bytes[1] = isDiallers ? 1 : 0;
  bytes.writeUInt32BE(index, 2);
}

function readRef(bytes: Buffer): StreamRef {
  return { isDiallers: bytes[1] === 1, index: bytes.readUInt32BE(2) };
}

function readCode(bytes: Buffer, offset: number): number {
  const code = bytes.readDoubleBE(offset);
  if (!Number.isSafeInteger(code) || code < 0) throw broken(`code ${code}`);
  return code;
}

function broken(what: string): RangeError {
  return new RangeError(`Cannot understand peer: ${what}`);
}
