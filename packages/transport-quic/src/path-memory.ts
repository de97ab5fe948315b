import type { QuicCongestionControl } from "@damselfly/quic";
import { LRUCache } from "lru-cache";

/**
 * Up to this round trip time a path counts as a LAN's. Between two machines of one site it is below 1 ms, with their
 * queues full some; where a loss costs cubic dearly it is well above.
 */
export const LAN_RTT_MS = 5;

/** A round trip time is believed for one to two of these; the least one seen meanwhile counts. */
const RTT_WINDOW_MS = 300_000;

/** A path that lost packets under cubic is doubted after this: it may have been a busy hour. */
const LOSSY_MS = 600_000;

/** What is known of peers that nobody has asked anything for this long is dropped. */
const FORGET_MS = 3_600_000;
const PEER_COUNT_MAX = 4_096;

export interface PathMemoryOptions {
  /** Round trips up to here are a LAN's, in milliseconds; default `LAN_RTT_MS`, and every one to this machine itself. */
  readonly lanRttMs?: number | undefined;
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number;
}

interface Path {
  readonly isLoopback: boolean;
  rtt: { readonly since: number; leastMs: number; readonly formerLeastMs: number } | undefined;
  lossyUntil: number;
  width: number;
  ticket: Uint8Array | undefined;
}

/** What earlier connections have taught about the way to each peer. In memory only. */
export class PathMemory {
  readonly #options: PathMemoryOptions;
  readonly #paths = new LRUCache<string, Path>({ max: PEER_COUNT_MAX, ttl: FORGET_MS });

  constructor(options: PathMemoryOptions) {
    this.#options = options;
  }

  /**
   * What to ask a peer to send by. A LAN's path takes cubic, a long or lossy one BBR. The first contact guesses a long
   * one: there another dial would cost a round trip that is felt, on a LAN it costs next to nothing.
   */
  wishFor(peer: string): QuicCongestionControl {
    return (this.isHard(peer) ?? true) ? "bbr" : "cubic";
  }

  /** Whether the path is longer than a LAN's, or loses packets; undefined: not known yet. */
  isHard(peer: string): boolean | undefined {
    const path = this.#paths.get(peer);
    if (path === undefined) return undefined;
    if (path.lossyUntil > this.#options.now()) return true;
    const { lanRttMs = path.isLoopback ? Number.POSITIVE_INFINITY : LAN_RTT_MS } = this.#options;
    if (path.rtt === undefined) return lanRttMs === Number.POSITIVE_INFINITY ? false : undefined;
    return Math.min(path.rtt.leastMs, path.rtt.formerLeastMs) > lanRttMs;
  }

  /** To be called before anything else is asked about a peer. */
  meet(peer: string, ip: string): void {
    if (this.#paths.get(peer) !== undefined) return;
    const isLoopback = ip === "::1" || ip.startsWith("127.");
    const path = { isLoopback, rtt: undefined, lossyUntil: 0, width: 1, ticket: undefined };
    this.#paths.set(peer, path);
  }

  noteRtt(peer: string, ms: number): void {
    const path = this.#paths.get(peer);
    if (path === undefined) return;
    const now = this.#options.now();
    const { rtt } = path;
    if (rtt === undefined || now - rtt.since > 2 * RTT_WINDOW_MS) {
      path.rtt = { since: now, leastMs: ms, formerLeastMs: Number.POSITIVE_INFINITY };
    } else if (now - rtt.since > RTT_WINDOW_MS) {
      path.rtt = { since: now, leastMs: ms, formerLeastMs: rtt.leastMs };
    } else {
      rtt.leastMs = Math.min(rtt.leastMs, ms);
    }
  }

  /** The peer has seen losses that cubic does not bear. */
  noteLoss(peer: string): void {
    const path = this.#paths.get(peer);
    if (path !== undefined) path.lossyUntil = this.#options.now() + LOSSY_MS;
  }

  /** How many connections were worth having when it was last measured; 1 if it never was. */
  widthOf(peer: string): number {
    return this.#paths.get(peer)?.width ?? 1;
  }

  noteWidth(peer: string, width: number): void {
    const path = this.#paths.get(peer);
    if (path !== undefined) path.width = width;
  }

  ticketOf(peer: string): Uint8Array | undefined {
    return this.#paths.get(peer)?.ticket;
  }

  /** @param ticket undefined: the one kept is no good */
  noteTicket(peer: string, ticket: Uint8Array | undefined): void {
    const path = this.#paths.get(peer);
    if (path !== undefined) path.ticket = ticket;
  }
}
