import {
  DEFAULT_QUIC_LIMITS,
  type QuicCongestionControl,
  type QuicConnection,
} from "@damselfly/quic";
import { ConnectionCode } from "./codes.ts";
import type { Dialled } from "./dialler.ts";

/** One request's hold on a connection. */
export interface Lease {
  readonly connection: QuicConnection;
  /**
   * Resolves when the parent is known to be who it should be: content that came with the first flight must not be
   * believed before. Rejects as the dial would have.
   */
  readonly trusted: Promise<void>;
  /** Whether nothing was running on it: it may have died unnoticed. */
  readonly wasIdle: boolean;
  /** Gives the connection back, once the last byte has arrived or the request was given up. Idempotent. */
  release(outcome: "done" | "abandoned"): void;
  /** Lets no further request use the connection. */
  retire(): void;
}

/**
 * quiche 0.18 remembers the id of every finished stream, and 1 to 2 KiB of every abandoned one, for which a parent gives
 * no new credit: a connection this worn is replaced by a new one.
 */
const REQUESTS_PER_CONNECTION = 1_000_000;
const ABANDONED_PER_CONNECTION = DEFAULT_QUIC_LIMITS.abandonedStreamCountMax;

export interface PooledConnectionInit {
  readonly dialling: Promise<Dialled>;
  /** What the parent was asked to send by. */
  readonly wish: QuicCongestionControl | undefined;
  /** Requests have begun or ended: it must not, or may, idle out. */
  readonly onUse: (connection: PooledConnection) => void;
  /** Its last request has ended; it is still open, even if it is to be closed for that. */
  readonly onIdle: (connection: PooledConnection) => void;
  /** It takes no more requests. */
  readonly onRetired: (connection: PooledConnection) => void;
}

/** A connection that requests share, from its dial to the end of the last of them. */
export class PooledConnection {
  readonly wish: QuicCongestionControl | undefined;
  readonly #init: PooledConnectionInit;
  #dialled: Dialled | undefined;
  /** Keeps the connection alive while requests run. */
  #unretain: (() => void) | undefined;
  #activeCount = 0;
  #requestCount = 0;
  #abandonedCount = 0;
  #outstandingLength = 0;
  #isRetired = false;

  constructor(init: PooledConnectionInit) {
    this.#init = init;
    this.wish = init.wish;
    init.dialling.then(
      (dialled) => {
        this.#dialled = dialled;
        // Nobody may have waited for it.
        if (this.#isRetired && this.#activeCount === 0)
          dialled.connection.close(ConnectionCode.Done);
        void dialled.connection.closed.then(() => this.retire());
      },
      () => this.retire(),
    );
  }

  /** Undefined until it has been dialled. */
  get connection(): QuicConnection | undefined {
    return this.#dialled?.connection;
  }

  get activeCount(): number {
    return this.#activeCount;
  }

  /** Bytes asked for on it by requests that still run. */
  get outstandingLength(): number {
    return this.#outstandingLength;
  }

  /** Whether it takes requests, now or when it has been dialled. */
  get isUsable(): boolean {
    return !this.#isRetired && (this.connection?.isOpen ?? true);
  }

  /**
   * @param length bytes that the request asks for
   * @throws what the dial throws
   */
  async lease(length: number): Promise<Lease> {
    const wasIdle = this.connection !== undefined && this.#activeCount === 0;
    this.#activeCount++;
    this.#requestCount++;
    this.#outstandingLength += length;
    this.#init.onUse(this);
    const { connection, trusted } = await this.#init.dialling;
    this.#unretain ??= connection.retain();
    if (this.#requestCount >= REQUESTS_PER_CONNECTION) this.retire();
    let isReleased = false;
    return {
      connection,
      trusted,
      wasIdle,
      release: (outcome) => {
        if (isReleased) return;
        isReleased = true;
        if (outcome === "abandoned" && ++this.#abandonedCount >= ABANDONED_PER_CONNECTION) {
          this.retire();
        }
        this.#release(length);
      },
      retire: () => this.retire(),
    };
  }

  /** The last request closes it, or nobody needs it already. Idempotent. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.#activeCount === 0) this.connection?.close(ConnectionCode.Done);
    this.#init.onRetired(this);
  }

  #release(length: number): void {
    this.#activeCount--;
    this.#outstandingLength -= length;
    if (this.#activeCount > 0) return;
    this.#unretain?.();
    this.#unretain = undefined;
    this.#init.onIdle(this);
    if (this.#isRetired) this.connection?.close(ConnectionCode.Done);
    else this.#init.onUse(this);
  }
}
