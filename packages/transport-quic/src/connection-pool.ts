import type { QuicConnection } from "@damselfly/quic";
import { LRUCache } from "lru-cache";
import type { Target } from "./dialler.ts";

export interface PoolOptions {
  /** Connections kept; beyond it the least recently used goes, once its requests have ended. */
  readonly capacity: number;
  /** A connection without requests is closed after this. Milliseconds. */
  readonly idleTimeoutMs: number;
}

/** One request's hold on a connection. */
export interface Lease {
  readonly connection: QuicConnection;
  /** Whether nothing was running on it: it may have died unnoticed. */
  readonly wasIdle: boolean;
  /** Gives the connection back, once the last byte has arrived or the request was given up. Idempotent. */
  release(outcome: "done" | "abandoned"): void;
  /** Lets no further request use the connection. */
  retire(): void;
}

/**
 * quiche 0.18 remembers the id of every finished stream, and 1 to 2 KiB of every abandoned one: a connection this
 * worn is replaced by a new one.
 */
const REQUESTS_PER_CONNECTION = 1_000_000;
const ABANDONED_PER_CONNECTION = 20_000;

interface Entry {
  readonly key: string;
  readonly dialling: Promise<QuicConnection>;
  connection: QuicConnection | undefined;
  /** Keeps the connection alive while requests run. */
  unretain: (() => void) | undefined;
  activeCount: number;
  requestCount: number;
  abandonedCount: number;
  isRetired: boolean;
}

/**
 * Connections by target. Requests for one target share its connection, and its dial; a connection that closes is
 * forgotten at once, and one that is evicted while requests run on it is closed after the last of them.
 */
export class ConnectionPool {
  readonly #dial: (target: Target) => Promise<QuicConnection>;
  readonly #options: PoolOptions;
  readonly #entries: LRUCache<string, Entry>;
  readonly #connections = new Set<QuicConnection>();

  constructor(dial: (target: Target) => Promise<QuicConnection>, options: PoolOptions) {
    this.#dial = dial;
    this.#options = options;
    this.#entries = new LRUCache({
      max: options.capacity,
      ttl: options.idleTimeoutMs,
      ttlAutopurge: true,
      noDisposeOnSet: true,
      dispose: (entry) => this.#retire(entry),
    });
  }

  /** Open connections: idle, in use, and evicted but still in use. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  get connections(): ReadonlySet<QuicConnection> {
    return this.#connections;
  }

  /** Requests to the target that are worth running at once: its connections. */
  width(target: Target): number {
    return this.#entries.peek(keyOf(target)) === undefined ? 0 : 1;
  }

  /** @throws whatever the dial throws */
  async acquire(target: Target): Promise<Lease> {
    const key = keyOf(target);
    const known = this.#entries.get(key);
    const entry = known ?? this.#open(key, target);
    const wasIdle = known !== undefined && entry.activeCount === 0;
    entry.activeCount++;
    entry.requestCount++;
    this.#entries.set(key, entry, { ttl: 0 }); // in use: it must not idle out
    try {
      const connection = await entry.dialling;
      entry.unretain ??= connection.retain();
      if (entry.requestCount >= REQUESTS_PER_CONNECTION) this.#forget(entry);
      return this.#lease(entry, connection, wasIdle);
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
  }

  /** Closes everything, in use or not. */
  close(): void {
    this.#entries.clear();
    for (const connection of this.#connections) connection.close(0);
  }

  #open(key: string, target: Target): Entry {
    const entry: Entry = {
      key,
      dialling: this.#dial(target),
      connection: undefined,
      unretain: undefined,
      activeCount: 0,
      requestCount: 0,
      abandonedCount: 0,
      isRetired: false,
    };
    entry.dialling.then(
      (connection) => {
        entry.connection = connection;
        this.#connections.add(connection);
        void connection.closed.then(() => {
          this.#connections.delete(connection);
          this.#forget(entry);
        });
      },
      () => this.#forget(entry),
    );
    return entry;
  }

  #lease(entry: Entry, connection: QuicConnection, wasIdle: boolean): Lease {
    let isReleased = false;
    return {
      connection,
      wasIdle,
      release: (outcome) => {
        if (isReleased) return;
        isReleased = true;
        if (outcome === "abandoned" && ++entry.abandonedCount >= ABANDONED_PER_CONNECTION) {
          this.#forget(entry);
        }
        this.#release(entry);
      },
      retire: () => this.#forget(entry),
    };
  }

  #release(entry: Entry): void {
    entry.activeCount--;
    if (entry.activeCount > 0) return;
    entry.unretain?.();
    entry.unretain = undefined;
    if (entry.isRetired) entry.connection?.close(0);
    else this.#entries.set(entry.key, entry, { ttl: this.#options.idleTimeoutMs });
  }

  #forget(entry: Entry): void {
    if (this.#entries.peek(entry.key) === entry) this.#entries.delete(entry.key);
    else this.#retire(entry);
  }

  /** Out of the pool: the last request closes it, or nobody needs it already. */
  #retire(entry: Entry): void {
    entry.isRetired = true;
    if (entry.activeCount === 0) entry.connection?.close(0);
  }
}

function keyOf({ ip, port, hostname, peerKey }: Target): string {
  return `${ip} ${port} ${hostname ?? ""} ${peerKey ?? ""}`;
}
