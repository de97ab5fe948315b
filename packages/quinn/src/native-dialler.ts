import { QuicError, type QuicAddress } from "@damselfly/quic";
import type { NativeClient, NativeConnection } from "./binding.ts";

/** Dials given up on, but which the native layer pursues, that one client may have before it is replaced. */
const ABANDONED_COUNT_MAX = 64;

interface Socket {
  readonly client: NativeClient;
  /** Connections that came of it, and dials that somebody still waits for. */
  usedCount: number;
  /** Dials that nobody waits for any more. */
  abandonedCount: number;
}

/**
 * Dials from a native client. That pursues a dial until the idle timeout, whoever gives it up: one with many such is
 * replaced, and closed once nothing of value runs on it.
 */
export class NativeDialler {
  readonly #openClient: () => NativeClient;
  readonly #sockets = new Set<Socket>();
  #current: Socket | undefined;

  constructor(openClient: () => NativeClient) {
    this.#openClient = openClient;
  }

  /**
   * @param signal gives up; what comes of the dial after that is aborted
   * @throws what the native layer throws, or the signal's reason
   */
  async dial(target: QuicAddress, signal: AbortSignal): Promise<NativeConnection> {
    const socket = this.#socket();
    const dialling = socket.client.outboundConnection(target.ip, target.port);
    socket.usedCount++;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        socket.usedCount--;
        socket.abandonedCount++;
        reject(signal.reason);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      dialling.then(
        (native) => {
          signal.removeEventListener("abort", giveUp);
          if (signal.aborted) this.#onAbandonedEnd(socket, native);
          else {
            void native.closed().finally(() => this.#release(socket));
            resolve(native);
          }
        },
        (error: unknown) => {
          signal.removeEventListener("abort", giveUp);
          if (signal.aborted) this.#onAbandonedEnd(socket);
          else {
            this.#release(socket);
            reject(error);
          }
        },
      );
    });
  }

  /** Ends everything that was dialled. */
  close(): void {
    for (const { client } of this.#sockets) client.abort();
    this.#sockets.clear();
    this.#current = undefined;
  }

  #socket(): Socket {
    const current = this.#current;
    if (current !== undefined && current.abandonedCount < ABANDONED_COUNT_MAX) return current;
    const socket = { client: this.#open(), usedCount: 0, abandonedCount: 0 };
    this.#sockets.add(socket);
    this.#current = socket;
    if (current !== undefined) this.#closeUnused(current);
    return socket;
  }

  #open(): NativeClient {
    try {
      return this.#openClient();
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new QuicError("ERR_ADDRESS", `Cannot open a UDP port to dial from: ${text}`, { cause });
    }
  }

  #onAbandonedEnd(socket: Socket, native?: NativeConnection): void {
    native?.abort();
    socket.abandonedCount--;
  }

  #release(socket: Socket): void {
    socket.usedCount--;
    this.#closeUnused(socket);
  }

  #closeUnused(socket: Socket): void {
    if (socket === this.#current || socket.usedCount > 0) return;
    socket.client.abort();
    this.#sockets.delete(socket);
  }
}
