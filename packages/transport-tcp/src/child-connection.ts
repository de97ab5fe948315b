import type { Socket } from "node:net";
import type { TcpLogger } from "./logger.ts";
import type { AnswerSink, PieceHandler } from "./piece-handler.ts";
import { type Request, RequestReader } from "./request-reader.ts";

export interface ChildConnectionInit {
  readonly socket: Socket;
  /** Where it comes from. */
  readonly ip: string;
  /** What has been read of it. */
  readonly early: Buffer;
  /** One of ours, with TLS: when it closes its half, it has gone. */
  readonly isOurs: boolean;
  readonly handler: PieceHandler;
  /** How long to wait for a complete request, in milliseconds; the first one may have less. */
  readonly idleMs: number;
  readonly firstMs: number;
  /** A child that takes no chunk for this long is cut off, in milliseconds. */
  readonly stallMs: number;
  /** A request has come. @returns why nothing is served on this connection; undefined: it is */
  readonly onRequest: () => string | undefined;
  /** It has been answered, and the next one is waited for. */
  readonly onIdle: () => void;
  readonly logger: TcpLogger | undefined;
}

/** A child's connection: requests one after another, each answered before the next is looked at. */
export class ChildConnection {
  readonly #init: ChildConnectionInit;
  readonly #socket: Socket;
  readonly #reader: RequestReader;
  /** Of the request that is being answered. */
  #controller: AbortController | undefined;
  #isAnnounced = false;
  #isClosing = false;

  constructor(init: ChildConnectionInit) {
    this.#init = init;
    this.#socket = init.socket;
    this.#reader = new RequestReader(init.socket, init.early);
    this.#reader.onEnd = () => this.#onEnd();
    this.#socket.on("error", () => {}); // "close" follows; a connection that breaks ends what runs on it
    this.#socket.once("close", () => this.#controller?.abort(GONE));
  }

  /** Resolves when the connection has been closed, by whomever. Never rejects. */
  async serve(): Promise<void> {
    try {
      await this.#serveAll();
      this.#socket.destroySoon();
    } catch (error) {
      this.#init.logger?.debug({ err: error }, "Cannot make out a child's request");
      this.#socket.destroy();
    }
  }

  /** Takes no more requests: closes it after the answer that runs, or at once if there is none. */
  finish(): void {
    this.#isClosing = true;
    if (this.#controller === undefined) this.#socket.destroy();
  }

  async #serveAll(): Promise<void> {
    const { onRequest, onIdle, firstMs, idleMs } = this.#init;
    for (let ms = firstMs; ; ms = idleMs) {
      const request = await this.#next(ms);
      if (request === undefined) return;
      const busy = onRequest();
      const canGoOn = await this.#answer(request, busy);
      if (!canGoOn) {
        this.#socket.destroy();
        return;
      }
      if (this.#isClosing || busy !== undefined) return;
      onIdle();
    }
  }

  /** Quiet or slow: it is closed without a word either way. */
  async #next(ms: number): Promise<Request | undefined> {
    const timer = setTimeout(() => this.#socket.destroy(), ms);
    try {
      return await this.#reader.next();
    } finally {
      clearTimeout(timer);
    }
  }

  async #answer(request: Request, busy: string | undefined): Promise<boolean> {
    const controller = new AbortController();
    this.#controller = controller;
    this.#isAnnounced = false;
    if (this.#socket.destroyed) controller.abort(GONE);
    const sink: AnswerSink = {
      ip: this.#init.ip,
      signal: controller.signal,
      announced: () => {
        this.#isAnnounced = true;
      },
      write: (bytes) => this.#write(bytes),
      cut: () => this.#socket.destroy(),
    };
    try {
      return await this.#init.handler.answer(request, sink, busy);
    } finally {
      this.#controller = undefined;
    }
  }

  /** A time-out of the socket would not do: whatever the child sends puts that off. */
  async #write(bytes: Uint8Array): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), this.#init.stallMs);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#socket.write(bytes, (error) => {
          if (error === undefined || error === null) {
            resolve();
            return;
          }
          // That the connection is closed may be told later: it is no fault of the source's that nobody takes the piece.
          this.#controller?.abort(GONE);
          reject(error);
        });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nobody closes a half before the announcement: that child has gone. */
  #onEnd(): void {
    if (this.#init.isOurs || !this.#isAnnounced) this.#controller?.abort(GONE);
  }
}

const GONE = new Error("The child has gone");
