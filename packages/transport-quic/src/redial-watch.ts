import type { QuicConnection } from "@damselfly/quic";
import { LRUCache } from "lru-cache";
import { ConnectionCode } from "./codes.ts";
import { LossJudge } from "./loss-judge.ts";
import { LAN_RTT_MS } from "./path-memory.ts";

/** Between two looks at the connections on which something runs. */
const LOOK_MS = 500;

/** A child that insists on cubic is not asked again for this long. */
const REPEAT_MS = 600_000;
const CHILD_COUNT_MAX = 4_096;

/**
 * Closes connections whose path loses more than cubic bears, with a code that asks for another dial: a connection's
 * congestion control is chosen when it is accepted. The child goes on where the old connection stopped.
 */
export class RedialWatch {
  /** Requests that run on each connection. */
  readonly #active = new Map<QuicConnection, number>();
  /** They remember beyond the end of a request: many short ones show as much as a long one. */
  readonly #judges = new WeakMap<QuicConnection, LossJudge>();
  readonly #asked = new LRUCache<string, true>({ max: CHILD_COUNT_MAX, ttl: REPEAT_MS });
  #timer: NodeJS.Timeout | undefined;
  #redialCount = 0;

  get redialCount(): number {
    return this.#redialCount;
  }

  /** Watches a connection as long as something runs on it: until the returned function is called. */
  begin(connection: QuicConnection): () => void {
    this.#active.set(connection, (this.#active.get(connection) ?? 0) + 1);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return () => {
      const count = (this.#active.get(connection) ?? 0) - 1;
      if (count > 0) this.#active.set(connection, count);
      else this.#active.delete(connection);
    };
  }

  #look(): void {
    if (this.#active.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const connection of this.#active.keys()) {
      const judge = this.#judges.get(connection) ?? new LossJudge(LAN_RTT_MS);
      this.#judges.set(connection, judge);
      const stats = connection.stats();
      if (stats.congestionControl !== "cubic" || !judge.observe(stats)) continue;
      const { ip } = connection.remoteAddress;
      if (!connection.isOpen || this.#asked.has(ip)) continue;
      this.#asked.set(ip, true);
      this.#redialCount++;
      connection.close(ConnectionCode.Redial, "this path loses packets, dial again");
    }
  }
}
