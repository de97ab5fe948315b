import type { NativeStream } from "./binding.ts";
import { ControlDecoder, type ControlMessage, encodeMessage } from "./control-message.ts";

const READ_LENGTH = 16 * 1024;
/** Messages that wait because the peer reads none. A stream takes about 40 bytes of them. */
const QUEUE_LENGTH_MAX = 1024 * 1024;

export interface ControlChannelInit {
  readonly onMessage: (message: ControlMessage) => void;
  /** The peer breaks the rules: the connection must end. Called once at most. */
  readonly onBroken: (reason: string) => void;
}

/** The connection's first stream, which carries `ControlMessage`s both ways. */
export class ControlChannel {
  readonly #stream: NativeStream;
  readonly #init: ControlChannelInit;
  #queue: Uint8Array[] = [];
  #queuedLength = 0;
  #isWriting = false;
  #isOver = false;

  constructor(stream: NativeStream, init: ControlChannelInit) {
    this.#stream = stream;
    this.#init = init;
    void this.#read();
  }

  /** In order; several messages of one moment leave together. */
  send(message: ControlMessage): void {
    if (this.#isOver) return;
    const bytes = encodeMessage(message);
    this.#queue.push(bytes);
    this.#queuedLength += bytes.byteLength;
    if (this.#queuedLength > QUEUE_LENGTH_MAX) this.#break("the peer does not listen");
    else if (!this.#isWriting) void this.#write();
  }

  /** Nothing more is sent or heard. */
  stop(): void {
    this.#isOver = true;
    this.#queue = [];
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    await Promise.resolve(); // for what else is to be said at this moment
    while (this.#queue.length > 0) {
      const bytes = Buffer.concat(this.#queue);
      this.#queue = [];
      try {
        await this.#stream.write(bytes);
      } catch {
        return; // the connection is over, which is noticed elsewhere
      }
      this.#queuedLength -= bytes.byteLength;
    }
    this.#isWriting = false;
  }

  async #read(): Promise<void> {
    const decoder = new ControlDecoder();
    try {
      for (;;) {
        const bytes = await this.#stream.read(READ_LENGTH);
        if (bytes === null) throw new RangeError("it has ended its control stream");
        for (const message of decoder.push(bytes)) {
          if (this.#isOver) return;
          this.#init.onMessage(message);
        }
      }
    } catch (error) {
      // Any other failure is the connection's end, which is noticed elsewhere.
      if (error instanceof RangeError) this.#break(error.message);
    }
  }

  #break(reason: string): void {
    if (this.#isOver) return;
    this.stop();
    this.#init.onBroken(reason);
  }
}
