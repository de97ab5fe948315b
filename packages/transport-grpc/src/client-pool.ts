import { createPieceTransferClient, type PieceTransferClient } from "@damselfly/rpc";
import { isOtherIdentity, type ParentAddress, type TlsSource } from "@damselfly/transport";

export interface ClientPoolOptions {
  readonly tls: TlsSource | undefined;
  /** Connections to one parent, at most. */
  readonly connectionCountMax: number;
  /** A connection nobody has used for this long is closed; milliseconds. */
  readonly idleTimeoutMs: number;
}

/** A connection on loan. */
export interface PooledClient {
  readonly client: PieceTransferClient;
  /** Gives it back, once. A broken one is not lent again. */
  release(options?: { readonly isBroken: boolean }): void;
}

interface Entry {
  readonly client: PieceTransferClient;
  useCount: number;
  idleTimer: NodeJS.Timeout | undefined;
}

/**
 * The connections to all parents. A piece gets an unused one, or a new one up to the limit, or the least used: pieces on
 * one connection share its window, so one that nobody reads must not hold up all others.
 */
export class ClientPool implements AsyncDisposable {
  readonly #options: ClientPoolOptions;
  readonly #parents = new Map<string, Set<Entry>>();

  readonly #unlisten: (() => void) | undefined;

  constructor(options: ClientPoolOptions) {
    this.#options = options;
    const { tls } = options;
    let former = tls?.current;
    this.#unlisten = tls?.onChange(() => {
      const isOther = former === undefined || isOtherIdentity(tls.current, former);
      former = tls.current;
      if (isOther) this.#retireAll();
    });
  }

  /** Connections, idle ones included. */
  get connectionCount(): number {
    let count = 0;
    for (const entries of this.#parents.values()) count += entries.size;
    return count;
  }

  acquire(parent: ParentAddress, port: number): PooledClient {
    const key = `${parent.ip} ${port} ${parent.hostname ?? ""}`;
    const entries = this.#parents.get(key) ?? new Set();
    this.#parents.set(key, entries);
    const entry = this.#choose(entries) ?? this.#open(entries, parent, port);
    entry.useCount += 1;
    clearTimeout(entry.idleTimer);
    return {
      client: entry.client,
      release: ({ isBroken } = { isBroken: false }) => {
        entry.useCount -= 1;
        // Dialled anew next time, at once, where grpc-js would wait longer and longer between two attempts.
        if (isBroken) this.#remove(key, entries, entry);
        if (entry.useCount > 0) return;
        if (!entries.has(entry)) void entry.client[Symbol.asyncDispose]();
        else this.#startIdleTimer(key, entries, entry);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unlisten?.();
    const clients = [...this.#parents.values()].flatMap((entries) => [...entries]);
    this.#parents.clear();
    for (const { client, idleTimer } of clients) {
      clearTimeout(idleTimer);
      await client[Symbol.asyncDispose]();
    }
  }

  /** No further call uses what is there; it is closed with the last of those that run. */
  #retireAll(): void {
    for (const [key, entries] of this.#parents) {
      for (const entry of entries) {
        clearTimeout(entry.idleTimer);
        this.#remove(key, entries, entry);
        if (entry.useCount === 0) void entry.client[Symbol.asyncDispose]();
      }
    }
  }

  #choose(entries: ReadonlySet<Entry>): Entry | undefined {
    let best: Entry | undefined;
    for (const entry of entries) {
      if (best === undefined || entry.useCount < best.useCount) best = entry;
    }
    const mayOpen = entries.size < this.#options.connectionCountMax;
    return best !== undefined && best.useCount > 0 && mayOpen ? undefined : best;
  }

  #open(entries: Set<Entry>, { ip, hostname }: ParentAddress, port: number): Entry {
    const { tls } = this.#options;
    const client = createPieceTransferClient(
      { ip, port },
      { tls, expectedHostname: hostname, channelOptions },
    );
    const entry: Entry = { client, useCount: 0, idleTimer: undefined };
    entries.add(entry);
    return entry;
  }

  #startIdleTimer(key: string, entries: Set<Entry>, entry: Entry): void {
    entry.idleTimer = setTimeout(() => {
      this.#remove(key, entries, entry);
      void entry.client[Symbol.asyncDispose]();
    }, this.#options.idleTimeoutMs);
    entry.idleTimer.unref();
  }

  #remove(key: string, entries: Set<Entry>, entry: Entry): void {
    entries.delete(entry);
    if (entries.size === 0 && this.#parents.get(key) === entries) this.#parents.delete(key);
  }
}

const channelOptions = {
  // Connection and stream alike: 100 ms of 80 MB/s, and what a piece that nobody reads may hold.
  "grpc-node.flow_control_window": 8 << 20,
  // Our own servers do not mind; a parent that vanished is noticed within 30 s.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // Four times what a server of ours sends.
  "grpc.max_receive_message_length": 1 << 20,
};
