import { performance } from "node:perf_hooks";
import type { TlsSource } from "@damselfly/transport";
import { ConnectTimes } from "./connect-times.ts";
import { ParentConnection, type Target } from "./parent-connection.ts";
import { SecureDials } from "./secure-dials.ts";
import { SessionCache } from "./session-cache.ts";
import { IDLE_MS } from "./socket-options.ts";
import { watchDial } from "./watch-dial.ts";

export interface ConnectionPoolOptions {
  /** For what is dialled with TLS. */
  readonly tls: TlsSource | undefined;
  /** Connections kept, all parents together: beyond it, idle ones are closed. */
  readonly capacity: number;
  /** An idle connection is closed after this, in milliseconds; no later than a parent would. */
  readonly idleTimeoutMs: number;
  /** From the dial to a usable connection, in milliseconds. */
  readonly connectMs: number;
  /** For dates in certificates: milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
}

/** What became of dials, since the start. */
export interface DialCounts {
  /** Connections that could be used. */
  readonly dialledCount: number;
  /** Of them, those with TLS that resumed a session. */
  readonly resumedCount: number;
  readonly failedCount: number;
  /** From the dials to usable connections, added up, in milliseconds. */
  readonly dialMs: number;
}

interface Waiter {
  /** Wants a connection on which nothing was asked yet. */
  readonly isFresh: boolean;
  readonly resolve: (connection: ParentConnection) => void;
  readonly reject: (reason: unknown) => void;
}

/** What is known of one target. */
interface Parent {
  readonly target: Target;
  /** The one used last comes last. */
  readonly idle: ParentConnection[];
  /** First come, first served. */
  readonly waiters: Waiter[];
  dialCount: number;
  /** Connections that are usable, idle ones included. */
  openCount: number;
}

/** Dials to one parent at a time. More requests at once wait for these, or for what becomes free meanwhile. */
const DIAL_COUNT_MAX = 8;

/**
 * The connections to all parents. A request gets the idle one that was used last, or a new one: there are as many as
 * requests run at once, and a piece that nobody reads holds up no other.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #parents = new Map<string, Parent>();
  readonly #sessions = new SessionCache(() => performance.now());
  readonly #secureDials: SecureDials | undefined;
  readonly #connections = new Set<ParentConnection>();
  /** Made under another identity of ours: they end with what runs on them. */
  readonly #former = new WeakSet<ParentConnection>();
  /** Those that are idle, the one for the longest time first, and what will close each. */
  readonly #idle = new Map<ParentConnection, NodeJS.Timeout>();
  readonly #connectTimes = new ConnectTimes(() => performance.now());
  #dialledCount = 0;
  #resumedCount = 0;
  #failedCount = 0;
  #dialMs = 0;
  #isClosed = false;

  /** @throws {TcpError} `ERR_TLS_CONFIG` */
  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
    const { tls, now } = options;
    if (tls === undefined) return;
    this.#secureDials = new SecureDials({
      tls,
      now,
      onChange: ({ isOtherIdentity }) => {
        this.#sessions.clear();
        if (isOtherIdentity) this.#retireSecure();
      },
    });
  }

  /** Connections that are dialled or open, idle ones included. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  get counts(): DialCounts {
    return {
      dialledCount: this.#dialledCount,
      resumedCount: this.#resumedCount,
      failedCount: this.#failedCount,
      dialMs: this.#dialMs,
    };
  }

  /** The least time that a connection to that address took of late, in milliseconds, without TLS; undefined: there was none. */
  rttTo(ip: string): number | undefined {
    return this.#connectTimes.least(ip);
  }

  /**
   * @param options.isFresh wants none on which anything was asked before
   * @throws the failure of the dial
   * @throws the signal's reason, when it aborts
   */
  async acquire(
    target: Target,
    { isFresh, signal }: { readonly isFresh: boolean; readonly signal: AbortSignal },
  ): Promise<ParentConnection> {
    signal.throwIfAborted();
    const parent = this.#parentOf(target);
    const idle = isFresh ? undefined : parent.idle.pop();
    if (idle !== undefined) {
      this.#unidle(idle);
      return idle;
    }
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => {
        parent.waiters.splice(parent.waiters.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const settled = (): void => signal.removeEventListener("abort", onAbort);
      const waiter: Waiter = {
        isFresh,
        resolve: (connection) => {
          settled();
          resolve(connection);
        },
        reject: (reason) => {
          settled();
          reject(reason);
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      parent.waiters.push(waiter);
      this.#dialForWaiters(parent);
    });
  }

  /** Closes everything. */
  close(): void {
    this.#isClosed = true;
    this.#secureDials?.[Symbol.dispose]();
    for (const connection of this.#connections) connection.close();
  }

  #retireSecure(): void {
    for (const connection of this.#connections) {
      if (!connection.target.isSecure) continue;
      this.#former.add(connection);
      if (this.#idle.has(connection)) connection.close();
    }
  }

  #parentOf(target: Target): Parent {
    const key = keyOf(target);
    let parent = this.#parents.get(key);
    if (parent === undefined) {
      parent = { target, idle: [], waiters: [], dialCount: 0, openCount: 0 };
      this.#parents.set(key, parent);
    }
    return parent;
  }

  #dialForWaiters(parent: Parent): void {
    while (parent.dialCount < Math.min(parent.waiters.length, DIAL_COUNT_MAX)) {
      parent.dialCount += 1;
      void this.#dial(parent);
    }
  }

  /** Never rejects: those who wait are told. */
  async #dial(parent: Parent): Promise<void> {
    const { target } = parent;
    const key = keyOf(target);
    const connection = new ParentConnection({
      target,
      secureDials: target.isSecure ? this.#secureDials : undefined,
      session: this.#sessions.find(key),
      onConnect: (ms) => this.#connectTimes.note(target.ip, ms),
      onSession: (session) => {
        if (!this.#former.has(connection)) this.#sessions.remember(key, session);
      },
      onFree: (freed) => this.#offer(parent, freed),
      onClosed: (closed) => this.#forget(parent, closed),
    });
    this.#connections.add(connection);
    const startedAt = performance.now();
    const stopWatching = watchDial(connection, this.#options.connectMs);
    try {
      await connection.ready;
      this.#dialMs += performance.now() - startedAt;
      this.#dialledCount += 1;
      if (connection.isResumed) this.#resumedCount += 1;
      parent.dialCount -= 1;
      parent.openCount += 1;
      this.#makeRoom();
      this.#offer(parent, connection);
    } catch (error) {
      this.#failedCount += 1;
      parent.dialCount -= 1;
      this.#sessions.forget(key); // it may be what the parent does not like
      // Where others get through it may be the parent's limit, and one of them will be free.
      const waiters = parent.waiters.splice(0, parent.openCount > 0 ? 1 : Infinity);
      for (const waiter of waiters) waiter.reject(error);
      this.#dialForWaiters(parent);
      this.#forgetIfUnused(parent);
    } finally {
      stopWatching();
    }
  }

  /** Gives a free connection to who waits for one, or keeps it. */
  #offer(parent: Parent, connection: ParentConnection): void {
    // One that was being dialled when our identity changed is for whom it was dialled.
    const isSpent = this.#former.has(connection) && connection.requestCount > 0;
    if (this.#isClosed || isSpent) {
      connection.close();
      return;
    }
    // Parents of old close a connection after one answer: who has met that once must not meet it again.
    const wasUsed = connection.requestCount > 0;
    const index = parent.waiters.findIndex(({ isFresh }) => !(isFresh && wasUsed));
    const [waiter] = index === -1 ? [] : parent.waiters.splice(index, 1);
    if (waiter !== undefined) {
      waiter.resolve(connection);
      this.#dialForWaiters(parent);
      return;
    }
    if (this.#connections.size > this.#options.capacity) {
      connection.close();
      return;
    }
    parent.idle.push(connection);
    const timer = setTimeout(
      () => connection.close(),
      Math.min(this.#options.idleTimeoutMs, IDLE_MS),
    );
    timer.unref();
    this.#idle.set(connection, timer);
  }

  #unidle(connection: ParentConnection): void {
    clearTimeout(this.#idle.get(connection));
    this.#idle.delete(connection);
  }

  /** A connection was made, and idle ones have to go for it. */
  #makeRoom(): void {
    const [oldest] = this.#idle.keys();
    if (this.#connections.size > this.#options.capacity) oldest?.close();
  }

  #forget(parent: Parent, connection: ParentConnection): void {
    this.#connections.delete(connection);
    if (connection.isEstablished) parent.openCount -= 1;
    if (this.#idle.has(connection)) {
      this.#unidle(connection);
      parent.idle.splice(parent.idle.indexOf(connection), 1);
    }
    this.#forgetIfUnused(parent);
  }

  #forgetIfUnused(parent: Parent): void {
    const { target, waiters, dialCount, openCount } = parent;
    if (waiters.length + dialCount + openCount === 0) this.#parents.delete(keyOf(target));
  }
}

/** What is checked of a certificate is part of it: a session vouches for nothing else. */
function keyOf({ ip, port, hostname, isSecure }: Target): string {
  return `${ip} ${port} ${isSecure ? `tls ${hostname ?? ""}` : "plain"}`;
}
