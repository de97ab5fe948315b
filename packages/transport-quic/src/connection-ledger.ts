import type { QuicConnection, QuicConnectionStats } from "@damselfly/quic";

/** One connection, and who is at its other end. */
export interface QuicPeerStats extends QuicConnectionStats {
  readonly ip: string;
  readonly port: number;
}

/** Sums over all connections since the start, those that are closed included. */
export interface QuicTotals {
  readonly connectionCount: number;
  /** Finished ones, and the sum of what they took, in milliseconds. */
  readonly handshakeCount: number;
  readonly handshakeMs: number;
  /** Connections whose first requests travelled with the first packet, and were taken or not (then they travelled twice). */
  readonly earlyAcceptedCount: number;
  readonly earlyRefusedCount: number;
  readonly sentPacketCount: number;
  readonly receivedPacketCount: number;
  readonly lostPacketCount: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly lostBytes: number;
  readonly retransmittedBytes: number;
  readonly openedStreamCount: number;
  readonly abandonedStreamCount: number;
}

/** Keeps account of connections beyond their end. */
export class ConnectionLedger {
  readonly #open = new Set<QuicConnection>();
  #closedTotals: QuicTotals = ZERO;

  get size(): number {
    return this.#open.size;
  }

  get connections(): ReadonlySet<QuicConnection> {
    return this.#open;
  }

  /** Follows a connection to its end. */
  add(connection: QuicConnection): void {
    this.#open.add(connection);
    void connection.closed.then(() => {
      this.#open.delete(connection);
      this.#closedTotals = plus(this.#closedTotals, connection.stats());
    });
  }

  get peers(): QuicPeerStats[] {
    return [...this.#open].map((connection) => ({
      ...connection.remoteAddress,
      ...connection.stats(),
    }));
  }

  get totals(): QuicTotals {
    return [...this.#open].reduce((sum, each) => plus(sum, each.stats()), this.#closedTotals);
  }
}

const ZERO: QuicTotals = {
  connectionCount: 0,
  handshakeCount: 0,
  handshakeMs: 0,
  earlyAcceptedCount: 0,
  earlyRefusedCount: 0,
  sentPacketCount: 0,
  receivedPacketCount: 0,
  lostPacketCount: 0,
  sentBytes: 0,
  receivedBytes: 0,
  lostBytes: 0,
  retransmittedBytes: 0,
  openedStreamCount: 0,
  abandonedStreamCount: 0,
};

function plus(sum: QuicTotals, stats: QuicConnectionStats): QuicTotals {
  return {
    connectionCount: sum.connectionCount + 1,
    handshakeCount: sum.handshakeCount + (stats.handshakeMs > 0 ? 1 : 0),
    handshakeMs: sum.handshakeMs + stats.handshakeMs,
    earlyAcceptedCount: sum.earlyAcceptedCount + (stats.earlyData === "accepted" ? 1 : 0),
    earlyRefusedCount: sum.earlyRefusedCount + (stats.earlyData === "refused" ? 1 : 0),
    sentPacketCount: sum.sentPacketCount + stats.sentPacketCount,
    receivedPacketCount: sum.receivedPacketCount + stats.receivedPacketCount,
    lostPacketCount: sum.lostPacketCount + stats.lostPacketCount,
    sentBytes: sum.sentBytes + stats.sentBytes,
    receivedBytes: sum.receivedBytes + stats.receivedBytes,
    lostBytes: sum.lostBytes + stats.lostBytes,
    retransmittedBytes: sum.retransmittedBytes + stats.retransmittedBytes,
    openedStreamCount: sum.openedStreamCount + stats.openedStreamCount,
    abandonedStreamCount: sum.abandonedStreamCount + stats.abandonedStreamCount,
  };
}
