import { connect, type Socket, type TcpNetConnectOpts } from "node:net";
import { performance } from "node:perf_hooks";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { chainOf, type PieceInfo, TransportError } from "@damselfly/transport";
import { type Packet, PacketDecoder } from "@damselfly/vortex";
import { ContentInbox } from "./content-inbox.ts";
import { ConnectionLost } from "./connection-lost.ts";
import type { RingBuffers } from "./ring-buffers.ts";
import type { KnownSession } from "./session-cache.ts";
import { SOCKET_OPTIONS } from "./socket-options.ts";
import type { SecureDials } from "./secure-dials.ts";
import { ALPN } from "./tls-context.ts";

/** A parent's TCP port, and who is expected behind it. */
export interface Target {
  readonly ip: string;
  readonly port: number;
  /** The name its certificate must carry; undefined: its IP, or that of every node. */
  readonly hostname: string | undefined;
  /** Whether it is dialled with TLS. */
  readonly isSecure: boolean;
}

/** A piece announced in answer to a request, and where its content arrives. */
export interface Answer {
  readonly piece: PieceInfo;
  /** What follows. A chunk is valid until the next one is asked for. Fails with `ERR_PIECE_TRUNCATED`. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  /** To be called once, at the end or before. Closes the connection, unless all has arrived. */
  free(): void;
}

/** What a request makes of the answer to it. */
export interface Asking {
  /** First half of every message. */
  readonly what: string;
  readonly packet: Uint8Array;
  /**
   * What the answer announces, and how many bytes of content follow. Called at once when it has come.
   *
   * @throws {TransportError} if it is something else
   */
  readonly accept: (answer: Packet) => { readonly piece: PieceInfo; readonly length: number };
  readonly buffers: RingBuffers;
}

interface RunningAsking extends Asking {
  readonly decoder: PacketDecoder;
  receivedLength: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (reason: unknown) => void;
}

export interface ParentConnectionInit {
  readonly target: Target;
  /** With it the connection is secure. */
  readonly secureDials: SecureDials | undefined;
  /** Of an earlier connection to the same target. */
  readonly session: KnownSession | undefined;
  /** The systems at both ends have met, `ms` after the dial; TLS is still to come. */
  readonly onConnect: (ms: number) => void;
  /** There is another session to resume. */
  readonly onSession: (session: KnownSession) => void;
  /** All that was asked for has arrived: the connection is free for the next request. */
  readonly onFree: (connection: ParentConnection) => void;
  /** It is closed, whatever ran on it. */
  readonly onClosed: (connection: ParentConnection) => void;
}

/** Bytes up to the header's end: with fewer of an answer, the parent may never have seen the request. */
const HEADER_LENGTH = 6;

/**
 * Where bytes go that are no content: all connections share it, since what comes is looked at before anything else
 * happens. 64 KiB is what libuv reads at once.
 */
const SCRATCH = new Uint8Array(64 * 1024);

/** One connection to a parent, on which requests follow each other. Content is read straight to where its reader sees it. */
export class ParentConnection {
  readonly target: Target;
  /** Resolves when it can be used. Rejects with the failure of the system, or of TLS. */
  readonly ready: Promise<void>;
  /** Requests so far. */
  requestCount = 0;
  readonly #init: ParentConnectionInit;
  readonly #socket: Socket | TLSSocket;
  /** What is waited for, from the request to the end of the announcement. */
  #asking: RunningAsking | undefined;
  #inbox: ContentInbox | undefined;
  /** First half of every message about the content. */
  #what = "";
  /** Whether the system was last told to read into the inbox. */
  #isReadingContent = false;
  #error: Error | undefined;
  #isEstablished = false;
  #isOpen = true;

  constructor(init: ParentConnectionInit) {
    this.#init = init;
    this.target = init.target;
    const { secureDials } = init;
    const dialledAt = performance.now();
    this.#socket = secureDials === undefined ? this.#dial() : this.#dialSecure(secureDials);
    this.ready = this.#becomeReady();
    this.ready.catch(() => undefined); // `onClosed` says it too
    this.#socket.on("error", (error) => {
      this.#error ??= error;
    });
    this.#socket.once("connect", () => init.onConnect(performance.now() - dialledAt));
    this.#socket.once("end", () => this.close());
    this.#socket.once("close", () => this.#onClose());
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#socket.destroyed;
  }

  /** Whether its TLS session is an earlier one's. */
  get isResumed(): boolean {
    const socket = this.#socket;
    return "isSessionReused" in socket && socket.isSessionReused();
  }

  /** Whether it could ever be used. */
  get isEstablished(): boolean {
    return this.#isEstablished;
  }

  /**
   * Asks for a piece; its content arrives whether or not it is read, as far as there is room.
   *
   * @throws {ConnectionLost} if the connection breaks before the answer is complete
   * @throws {VortexError | TransportError} the connection is closed then
   */
  async ask(asking: Asking): Promise<Answer> {
    this.requestCount += 1;
    return await new Promise<Answer>((resolve, reject) => {
      if (!this.isOpen) {
        reject(this.#lost(true));
        return;
      }
      this.#asking = {
        ...asking,
        decoder: new PacketDecoder(),
        receivedLength: 0,
        resolve,
        reject,
      };
      this.#socket.write(asking.packet);
    });
  }

  /** At once: what has not arrived is lost. Idempotent. */
  close(reason?: Error): void {
    if (this.#socket.destroyed) return;
    this.#error ??= reason;
    // The parent learns at once that nobody listens; without it, it would when it has sent more.
    if (this.#inbox === undefined || this.target.isSecure) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  #dial(): Socket {
    const { ip: host, port } = this.target;
    return connect({ host, port, ...SOCKET_OPTIONS, onread: this.#onread() });
  }

  #dialSecure(secureDials: SecureDials): TLSSocket {
    const { ip: host, port } = this.target;
    const { session: known, onSession } = this.#init;
    const options: ConnectionOptions & TcpNetConnectOpts = {
      host,
      port,
      ...SOCKET_OPTIONS,
      secureContext: secureDials.context,
      ...(known === undefined ? {} : { session: known.session }),
      ALPNProtocols: [ALPN],
      rejectUnauthorized: true,
      // Not asked when a session is resumed; what it would check is checked below in any case.
      checkServerIdentity: () => undefined,
      onread: this.#onread(),
    };
    const socket = connectTls(options);
    let chain = known?.chain ?? [];
    let checkedAt = known?.checkedAt ?? 0;
    socket.once("secureConnect", () => {
      const isResumed = socket.isSessionReused();
      if (!isResumed) {
        chain = chainOf(socket);
        checkedAt = performance.now();
      }
      const refusal = secureDials.admit(this, { chain, isResumed });
      if (refusal !== undefined) this.close(new Error(refusal.reason));
    });
    // With TLS 1.3 they come after the handshake.
    socket.on("session", (session) => onSession({ session, chain, checkedAt }));
    return socket;
  }

  async #becomeReady(): Promise<void> {
    const event = this.target.isSecure ? "secureConnect" : "connect";
    await new Promise<void>((resolve, reject) => {
      this.#socket.once(event, () => {
        if (this.isOpen) resolve();
      });
      this.#socket.once("close", () =>
        reject(this.#error ?? new Error("it closed the connection")),
      );
    });
    this.#isEstablished = true;
  }

  #onread(): { buffer: () => Uint8Array; callback: (length: number) => boolean } {
    return { buffer: () => this.#nextRoom(), callback: (length) => this.#onRead(length) };
  }

  #nextRoom(): Uint8Array {
    const room = this.#inbox?.room();
    this.#isReadingContent = room !== undefined && room.byteLength > 0;
    return room !== undefined && room.byteLength > 0 ? room : SCRATCH;
  }

  /** @returns whether to go on reading */
  #onRead(length: number): boolean {
    if (this.#isReadingContent) this.#inbox?.commit(length);
    else this.#onBytes(SCRATCH.subarray(0, length));
    this.#freeIfDone();
    return this.#inbox?.isFull !== true;
  }

  /** Bytes that did not arrive in the inbox, though they may belong there. */
  #onBytes(bytes: Uint8Array): void {
    let rest: Uint8Array | undefined = bytes;
    if (this.#asking !== undefined) rest = this.#onAnswer(this.#asking, bytes);
    if (rest === undefined) return;
    const taken = this.#inbox?.push(rest) ?? 0;
    // More than was asked for: nothing after it can be trusted to be an answer.
    if (taken < rest.byteLength) this.#socket.destroy();
  }

  /** @returns what follows the answer; undefined: it is not complete, or none */
  #onAnswer(asking: RunningAsking, bytes: Uint8Array): Uint8Array | undefined {
    asking.receivedLength += bytes.byteLength;
    let isAnswered = false;
    try {
      const decoded = asking.decoder.push(bytes);
      if (decoded === undefined) return undefined;
      this.#asking = undefined;
      isAnswered = decoded.packet.kind === "error" && decoded.rest.byteLength === 0;
      const { piece, length } = asking.accept(decoded.packet);
      asking.resolve({ piece, ...this.#receive(length, asking) });
      return decoded.rest;
    } catch (error) {
      this.#asking = undefined;
      asking.reject(error);
      // A refusal leaves the connection as it was; Dragonfly's parents of old close it.
      if (isAnswered && this.isOpen) this.#init.onFree(this);
      else this.#socket.destroy();
      return undefined;
    }
  }

  #receive(length: number, { what, buffers }: Asking): Pick<Answer, "chunks" | "free"> {
    const { buffer, giveBack } = buffers.take(length);
    const onRoom = (): void => {
      this.#socket.resume();
    };
    const inbox = new ContentInbox({ length, buffer, onRoom });
    this.#inbox = inbox;
    this.#what = what;
    let isRead = false;
    return {
      async *chunks() {
        yield* inbox.chunks();
        // Only a consumer that came back for more has let go of the last chunk: one that gave up may still write it.
        isRead = true;
      },
      free: () => {
        if (this.#inbox === inbox) this.close();
        giveBack(isRead);
      },
    };
  }

  #freeIfDone(): void {
    if (this.#inbox?.isComplete !== true) return;
    this.#inbox = undefined;
    if (this.isOpen) this.#init.onFree(this);
  }

  #onClose(): void {
    this.#isOpen = false;
    this.#init.secureDials?.release(this);
    const asking = this.#asking;
    this.#asking = undefined;
    asking?.reject(this.#lost(asking.receivedLength < HEADER_LENGTH));
    this.#inbox?.fail(
      new TransportError(
        "ERR_PIECE_TRUNCATED",
        `${this.#what}: it ended after ${this.#inbox.arrivedLength} of ${this.#inbox.length} bytes, ${this.#reason}`,
        { cause: this.#error },
      ),
    );
    this.#inbox = undefined;
    this.#init.onClosed(this);
  }

  #lost(isUnanswered: boolean): ConnectionLost {
    return new ConnectionLost(this.#reason, { isUnanswered, cause: this.#error });
  }

  get #reason(): string {
    return this.#error === undefined
      ? "the parent closed the connection"
      : `the connection broke: ${this.#error.message}`;
  }
}
