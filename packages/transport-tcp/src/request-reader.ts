import type { Socket } from "node:net";
import { decodePacket, Tag, VortexError } from "@damselfly/vortex";

/** A request for a piece. */
export type Request = Extract<
  ReturnType<typeof decodePacket>,
  { readonly kind: "request" | "range-request" }
>;

const HEADER_LENGTH = 6;

/** What is served, and how long its value is, in bytes. */
const VALUE_LENGTHS: ReadonlyMap<number, number> = new Map([
  [Tag.DownloadPiece, 68],
  [Tag.DownloadPersistentPiece, 68],
  [Tag.DownloadPersistentCachePiece, 68],
  [Tag.DownloadPieceRange, 84],
]);

/** The tags above: what a second byte may be, where Vortex is spoken. */
export function isServedTag(tag: number | undefined): boolean {
  return tag !== undefined && VALUE_LENGTHS.has(tag);
}

/** Bytes that may come before their turn. Nobody has to send any. */
const EARLY_LENGTH_MAX = 4096;

/**
 * Reads requests from a connection, one after another. It reads on while one is being answered, to notice at once when
 * the child goes away, but holds no more than a few requests that came too early.
 */
export class RequestReader {
  readonly #socket: Socket;
  #bytes: Buffer;
  #hasEnded = false;
  #wake: (() => void) | undefined;

  /** @param early read already */
  constructor(socket: Socket, early: Buffer) {
    this.#socket = socket;
    this.#bytes = early;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.once("end", () => this.#onEnd());
    socket.once("close", () => this.#onEnd());
  }

  /** Whether the child sends no more: it has gone, or closed its half. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Waits for a request.
   *
   * @returns undefined if there is no more
   * @throws {VortexError} if what comes is none; its value is not waited for then
   */
  async next(): Promise<Request | undefined> {
    for (;;) {
      const request = this.#take();
      if (request !== undefined) return request;
      if (this.#hasEnded) return undefined;
      if (this.#socket.isPaused()) this.#socket.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): Request | undefined {
    if (this.#bytes.byteLength < HEADER_LENGTH) return undefined;
    const tag = this.#bytes.readUInt8(1);
    const length = this.#bytes.readUInt32BE(2);
    if (VALUE_LENGTHS.get(tag) !== length) {
      throw new VortexError(
        "ERR_VALUE_LENGTH",
        `Cannot serve a packet with tag ${tag} and ${length} bytes: it is no request`,
      );
    }
    const end = HEADER_LENGTH + length;
    if (this.#bytes.byteLength < end) return undefined;
    const packet = decodePacket(this.#bytes.subarray(0, end));
    this.#bytes = this.#bytes.subarray(end);
    const isRequest =
      packet.kind === "request" || (packet.kind === "range-request" && packet.length > 0);
    if (isRequest) return packet;
    throw new VortexError("ERR_VALUE", `Cannot serve a packet of kind ${packet.kind}`);
  }

  #onData(chunk: Buffer): void {
    this.#bytes = this.#bytes.byteLength === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#wake === undefined && this.#bytes.byteLength > EARLY_LENGTH_MAX) this.#socket.pause();
    this.#notify();
  }

  #onEnd(): void {
    this.#hasEnded = true;
    this.onEnd?.();
    this.#notify();
  }

  /** Called when the child has gone, or closed its half. */
  onEnd: (() => void) | undefined;

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
