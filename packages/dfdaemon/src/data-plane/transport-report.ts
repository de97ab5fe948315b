import type { Protocol } from "@damselfly/transport";
import type { QuicDownloaderStats, QuicServerStats } from "@damselfly/transport-quic";
import type { TcpDownloaderStats, TcpServerStats } from "@damselfly/transport-tcp";
import type { ProtocolTotals } from "./choice/choice-totals.ts";
import type { KnownParent } from "./choice/known-parent.ts";
import type { TransportOffer } from "./data-plane.ts";

/** Of parents and of connections only so many are told of: those asked last. */
const LISTED_COUNT_MAX = 1_000;

/** How pieces travel at this moment, and why: what `GET /api/transports` answers. Counts are since the start. */
export interface TransportReport {
  readonly mode: "auto" | "in order";
  /** What others can fetch from us over. */
  readonly offers: readonly TransportOffer[];
  readonly protocols: readonly ProtocolTotals[];
  /** Bytes that came over two protocols because the first one crawled. */
  readonly doubledBytes: number;
  /** The one asked last comes first. */
  readonly parents: readonly ParentReport[];
  /** By backend; empty where QUIC is off. */
  readonly quic: Readonly<Record<string, QuicBackendReport>>;
  /** Null where there is none: in tests. */
  readonly tcp: TcpReport | null;
}

/** Both sides of TCP. */
export interface TcpReport {
  readonly downloader: TcpDownloaderStats;
  readonly server: TcpServerStats;
}

/** What is known of one parent. */
export interface ParentReport {
  readonly hostId: string;
  readonly ip: string;
  /** The one for it; null: nothing gets through, or it is not decided. */
  readonly protocol: Protocol | null;
  /** In words; empty where an operator has named the protocol. */
  readonly reason: string;
  /** The least seen of late; null: not known. Milliseconds. */
  readonly rttMs: number | null;
  /** Longer than a LAN's. */
  readonly isFar: boolean;
  /** Pieces in flight. */
  readonly runningCount: number;
  readonly protocols: readonly ParentProtocolReport[];
}

export interface ParentProtocolReport {
  readonly protocol: Protocol;
  /** `left out`: it did not get through, and is not asked for a while. */
  readonly state: "works" | "left out" | "not known";
  /** Bytes a second, of all pieces in flight together; null: not measured. */
  readonly goodput: number | null;
  readonly pieceCount: number;
  readonly byteCount: number;
  readonly failureCount: number;
  /** In words; empty: there was none. */
  readonly lastFailure: string;
}

/** One QUIC library, both sides of it. */
export interface QuicBackendReport {
  readonly downloader: QuicDownloaderStats;
  readonly server: QuicServerStats;
}

/** @param parents the one asked last comes last */
export function reportParents(parents: readonly KnownParent[]): ParentReport[] {
  return parents.slice(-LISTED_COUNT_MAX).toReversed().map(reportParent);
}

function reportParent({ record, address, runs }: KnownParent): ParentReport {
  return {
    hostId: address.hostId,
    ip: address.ip,
    protocol: record.favourite ?? null,
    reason: record.why,
    rttMs: record.rttMs ?? null,
    isFar: record.isFar,
    runningCount: runs.size,
    protocols: record.protocols.map((each) => ({
      protocol: each.protocol,
      state: stateOf(each),
      goodput: each.goodput === undefined ? null : Math.round(each.goodput * 1000),
      pieceCount: each.pieceCount,
      byteCount: each.byteCount,
      failureCount: each.failureCount,
      lastFailure: each.lastFailure,
    })),
  };
}

function stateOf(each: {
  readonly isDetoured: boolean;
  readonly isProven: boolean;
}): ParentProtocolReport["state"] {
  if (each.isDetoured) return "left out";
  return each.isProven ? "works" : "not known";
}

/** The same with no more connections than a person, or a scraper, can take. */
export function withFewConnections<Stats extends { readonly connections: readonly unknown[] }>(
  stats: Stats,
): Stats {
  return { ...stats, connections: stats.connections.slice(-LISTED_COUNT_MAX) };
}
