import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { ConnectionCode } from "./codes.ts";
import { ConnectionGroup, type WishSetting } from "./connection-group.ts";
import { ConnectionLedger } from "./connection-ledger.ts";
import type { Dialled, DialWish, Target } from "./dialler.ts";
import type { PathMemory } from "./path-memory.ts";
import type { Lease, PooledConnection } from "./pooled-connection.ts";

export interface PoolOptions {
  /** Connections kept; beyond it the least recently used goes, once its requests have ended. */
  readonly capacity: number;
  /** A connection without requests is closed after this. Milliseconds. */
  readonly idleTimeoutMs: number;
  readonly memory: PathMemory;
  /** What parents are asked to send by. */
  readonly wish: WishSetting;
  readonly dial: (target: Target, how: DialWish) => Promise<Dialled>;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
}

/** What is known of one parent port at this moment. */
export interface QuicParentStats {
  readonly ip: string;
  readonly port: number;
  /** Connections that take requests. */
  readonly connectionCount: number;
  /** How many of them pay, as far as is known. */
  readonly width: number;
  /** Whether the path is longer than a LAN's, or loses packets; undefined: not known yet. */
  readonly isHard: boolean | undefined;
}

/**
 * Connections by target, a few for each where that pays. A connection that closes is forgotten at once, and one that
 * is evicted while requests run on it is closed after the last of them.
 */
export class ConnectionPool {
  readonly #options: PoolOptions;
  readonly #groups = new Map<string, ConnectionGroup>();
  /** Of all groups; in use they do not idle out. */
  readonly #members: LRUCache<PooledConnection, PooledConnection>;
  /** Open connections: idle, in use, and evicted but still in use. */
  readonly ledger: ConnectionLedger = new ConnectionLedger();
  #redialCount = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#members = new LRUCache({
      max: options.capacity,
      ttl: options.idleTimeoutMs,
      ttlAutopurge: true,
      noDisposeOnSet: true,
      dispose: (member) => member.retire(),
    });
  }

  /** Connections that parents have closed to be dialled for another congestion control. */
  get redialCount(): number {
    return this.#redialCount;
  }

  /** What is held for each parent port, idle or not. */
  get parents(): QuicParentStats[] {
    return [...this.#groups.values()].map(({ target, size, width, isHard }) => ({
      ip: target.ip,
      port: target.port,
      connectionCount: size,
      width,
      isHard,
    }));
  }

  /** Whether it is known what the path to the target is like. */
  isKnown(target: Target): boolean {
    const key = keyOf(target);
    this.#options.memory.meet(key, target.ip);
    return this.#options.memory.isHard(key) !== undefined;
  }

  /** Whether a connection to the target stands, its handshake done. */
  isConnected(target: Target): boolean {
    return this.#groups.get(keyOf(target))?.isConnected ?? false;
  }

  /** Requests to the target that are worth running at once: as many as the connections that pay. */
  width(target: Target): number {
    return this.#groups.get(keyOf(target))?.width ?? 1;
  }

  /**
   * @param length bytes to be asked for
   * @throws whatever the dial throws
   */
  acquire(target: Target, length: number): Promise<Lease> {
    const key = keyOf(target);
    const group = this.#groups.get(key) ?? this.#createGroup(key, target);
    return group.lease(length);
  }

  /** No further request uses what is there; it is closed with the last of those that run. */
  retireAll(): void {
    for (const group of this.#groups.values()) group.retireAll();
  }

  /** Closes everything, in use or not. */
  close(): void {
    for (const group of this.#groups.values()) group.close();
    this.#members.clear();
    for (const connection of this.ledger.connections) connection.close(ConnectionCode.Done);
  }

  #createGroup(key: string, target: Target): ConnectionGroup {
    const { memory, wish, now, idleTimeoutMs } = this.#options;
    const group = new ConnectionGroup({
      key,
      target,
      memory,
      wish,
      now,
      dial: (how) => this.#dial(target, how),
      onUse: (member) => {
        this.#members.set(member, member, { ttl: member.activeCount > 0 ? 0 : idleTimeoutMs });
      },
      onRetired: (member) => {
        this.#members.delete(member);
        if (group.size > 0) return;
        group.close();
        this.#groups.delete(key);
      },
      onRedial: () => this.#redialCount++,
    });
    this.#groups.set(key, group);
    return group;
  }

  async #dial(target: Target, how: DialWish): Promise<Dialled> {
    const dialled = await this.#options.dial(target, how);
    this.ledger.add(dialled.connection);
    return dialled;
  }
}

/** Everything that is checked of whoever answers is part of it. */
function keyOf({ ip, port, hostname, peerKey, keyCertificates }: Target): string {
  const [leaf] = keyCertificates ?? [];
  const teller = leaf === undefined ? "" : createHash("sha256").update(leaf).digest("base64");
  return `${ip} ${port} ${hostname ?? ""} ${peerKey ?? ""} ${teller}`;
}
