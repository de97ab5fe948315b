import type { Duplex } from "node:stream";
import { deserialize, serialize } from "node:v8";
import type { Channel } from "./channel.ts";

/** The longest message taken in, in bytes: a report of many connections is the largest there is. */
export const MESSAGE_LENGTH_MAX: number = 64 << 20;

/** Four bytes, big-endian: the length of the message that follows. */
const HEADER_LENGTH = 4;

/** Messages over a pipe or a socket, as V8 serializes them. The pipe is this channel's from now on. */
export function openPipeChannel(pipe: Duplex): Channel {
  return new PipeChannel(pipe);
}

class PipeChannel implements Channel {
  readonly closed: Promise<void>;
  readonly #pipe: Duplex;
  readonly #inbox = new MessageCutter();
  readonly #waiting: unknown[] = [];
  #onMessage: ((message: unknown) => void) | undefined;
  #isClosed = false;
  #isCorked = false;

  constructor(pipe: Duplex) {
    this.#pipe = pipe;
    this.closed = new Promise((resolve) => {
      pipe.once("close", () => {
        this.#isClosed = true;
        resolve();
      });
    });
    pipe.on("data", (bytes: Uint8Array) => this.#onData(bytes));
    pipe.on("end", () => pipe.destroy());
    pipe.on("error", () => {}); // "close" follows, and the other process's end tells why
  }

  get onMessage(): ((message: unknown) => void) | undefined {
    return this.#onMessage;
  }

  set onMessage(listener: ((message: unknown) => void) | undefined) {
    this.#onMessage = listener;
    if (listener === undefined) return;
    for (const message of this.#waiting.splice(0)) listener(message);
  }

  send(message: unknown): void {
    if (this.#isClosed || !this.#pipe.writable) return;
    // What one turn of the event loop has to say goes out in one write.
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#pipe.cork();
      setImmediate(() => this.#uncork());
    }
    const body = serialize(message);
    const bytes = Buffer.allocUnsafe(HEADER_LENGTH + body.byteLength);
    bytes.writeUInt32BE(body.byteLength);
    bytes.set(body, HEADER_LENGTH);
    this.#pipe.write(bytes);
  }

  close(): void {
    this.#uncork();
    this.#pipe.end();
    // The other side closes its end when it has read this one's.
    if (this.#pipe.readableEnded) this.#pipe.destroy();
  }

  #uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#pipe.uncork();
  }

  #onData(bytes: Uint8Array): void {
    try {
      for (const body of this.#inbox.push(bytes)) this.#deliver(deserialize(body));
    } catch (error) {
      // Not what our own code sends: there is no way to go on.
      this.#pipe.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #deliver(message: unknown): void {
    if (this.#onMessage === undefined) this.#waiting.push(message);
    else this.#onMessage(message);
  }
}

/** Cuts a stream of bytes into messages. */
class MessageCutter {
  #rest: Uint8Array = new Uint8Array(0);

  *push(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
    this.#rest = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (this.#rest.byteLength >= HEADER_LENGTH) {
      const { buffer, byteOffset, byteLength } = this.#rest;
      const length = new DataView(buffer, byteOffset, byteLength).getUint32(0);
      if (length > MESSAGE_LENGTH_MAX) {
        throw new RangeError(
          `Cannot read message: it is ${length} bytes, the limit is ${MESSAGE_LENGTH_MAX}`,
        );
      }
      if (byteLength < HEADER_LENGTH + length) return;
      const body = this.#rest.subarray(HEADER_LENGTH, HEADER_LENGTH + length);
      this.#rest = this.#rest.subarray(HEADER_LENGTH + length);
      yield body;
    }
  }
}
