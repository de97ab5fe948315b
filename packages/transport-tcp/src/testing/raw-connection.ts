import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** One end of a TCP connection that keeps no protocol but the test's. */
export class RawConnection {
  readonly socket: Socket;
  /** Whether the other end has closed its half, or more. */
  hasEnded = false;
  #chunks: Buffer[] = [];
  #look: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#look?.();
    });
    socket.on("error", () => {}); // "close" follows
    for (const event of ["end", "close"]) {
      socket.once(event, () => {
        this.hasEnded = true;
        this.#look?.();
      });
    }
  }

  /** To a server on this machine. Its own half stays open when the other one is closed. */
  static async open(port: number, from = "127.0.0.1"): Promise<RawConnection> {
    const target = { host: "127.0.0.1", port, localAddress: from };
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    await once(socket, "connect");
    return new RawConnection(socket);
  }

  /** What has come and was not read. */
  get unread(): Buffer {
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  get #unreadLength(): number {
    return this.#chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** @throws {RangeError} if the other end closes before */
  async read(length: number): Promise<Buffer> {
    while (this.#unreadLength < length) {
      if (this.hasEnded) throw new RangeError(`Only ${this.#unreadLength} bytes came`);
      await this.#change();
    }
    const { unread } = this;
    this.#chunks = [unread.subarray(length)];
    return unread.subarray(0, length);
  }

  /** Everything up to the end. */
  async readAll(): Promise<Buffer> {
    while (!this.hasEnded) await this.#change();
    return this.read(this.#unreadLength);
  }

  /** Resolves when the other end has closed its half, or more. */
  async untilEnded(): Promise<void> {
    while (!this.hasEnded) await this.#change();
  }

  write(bytes: Uint8Array | string): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "hex") : bytes);
  }

  /** Writes so that the other end sees each byte by itself, as far as the system lets it. */
  async writeSlowly(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      this.socket.write(Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
  }

  close(): void {
    this.socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#look = resolve;
    });
  }
}
