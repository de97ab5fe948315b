import type { QuicPeerStats, QuicTotals } from "@damselfly/transport-quic";
import { Counter, Gauge, type Registry } from "prom-client";
import type { TcpReport, TransportReport } from "../data-plane/transport-report.ts";

/** What Prometheus reads at one time is of one moment; the report is made once for all figures. Milliseconds. */
const REPORT_AGE_MAX_MS = 100;

/**
 * Registers what is known of transports, under names of our own (`damselfly_`). Each scrape asks for a report; nothing is
 * counted here.
 */
export function registerTransportMetrics(
  registry: Registry,
  report: () => Promise<TransportReport>,
): void {
  const fresh = rememberBriefly(report);
  const registers = [registry];
  for (const figure of FIGURES) {
    const { name, help, labelNames, valuesOf } = figure;
    const Kind = name.endsWith("_total") ? Counter : Gauge;
    const metric: Counter | Gauge = new Kind({
      name,
      help,
      labelNames: [...labelNames],
      registers,
      async collect() {
        const values = valuesOf(await fresh());
        metric.reset();
        for (const { labels, value } of values) metric.inc(labels, value);
      },
    });
  }
}

interface Value {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Figure {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly valuesOf: (report: TransportReport) => readonly Value[];
}

const FIGURES: readonly Figure[] = [
  ofProtocols("received_bytes_total", "Bytes of pieces from parents", (each) => each.byteCount),
  ofProtocols("pieces_total", "Pieces from parents, by what brought their ends", (each) => {
    return each.pieceCount;
  }),
  ofProtocols(
    "piece_seconds_total",
    "Time from the requests for pieces to their last bytes, added up; bytes over it are the goodput of a piece",
    (each) => each.durationMs / 1000,
  ),
  ofProtocols(
    "failures_total",
    "Times a protocol did not get through to a parent and was left out for a while",
    (each) => each.failureCount,
  ),
  byReason("decisions_total", "Parents given to a protocol, by reason", (each) => each.decisions),
  byReason(
    "moves_total",
    "Rests of pieces that a protocol took over from one that crawled or fell silent",
    (each) => each.moves,
  ),
  {
    name: "damselfly_transport_doubled_bytes_total",
    help: "Bytes that came over two protocols because the first one crawled",
    labelNames: [],
    valuesOf: ({ doubledBytes }) => [{ labels: {}, value: doubledBytes }],
  },
  {
    name: "damselfly_transport_parents",
    help: "Parents that are remembered, by the protocol that is the one for them",
    labelNames: ["protocol"],
    valuesOf: countParents,
  },
  ofQuic("connections", "Connections held", ({ connections }) => connections.length),
  ofQuic("handshakes_total", "Handshakes that came to their end", ({ totals }) => {
    return totals.handshakeCount;
  }),
  ofQuic("handshake_seconds_total", "What they took, added up", ({ totals }) => {
    return totals.handshakeMs / 1000;
  }),
  ofQuic(
    "early_accepted_total",
    "Connections whose first requests travelled with the first packet",
    ({ totals }) => {
      return totals.earlyAcceptedCount;
    },
  ),
  ofQuic("sent_packets_total", "Packets sent", ({ totals }) => totals.sentPacketCount),
  ofQuic("received_packets_total", "Packets received", ({ totals }) => totals.receivedPacketCount),
  ofQuic("lost_packets_total", "Packets sent and not acknowledged", ({ totals }) => {
    return totals.lostPacketCount;
  }),
  ofQuic(
    "retransmitted_bytes_total",
    "Bytes sent again",
    ({ totals }) => totals.retransmittedBytes,
  ),
  ofQuic("rtt_seconds", "Mean round trip of the connections held", ({ connections }) => {
    return mean(connections, ({ rttMs }) => rttMs) / 1000;
  }),
  ofQuic(
    "congestion_window_bytes",
    "Mean congestion window of the connections held",
    ({ connections }) => {
      return mean(connections, ({ congestionWindowBytes }) => congestionWindowBytes);
    },
  ),
  ofQuicServer(
    "datagrams_per_send_call",
    "Datagrams that one call sent, mean since the start",
    (server) => {
      return server.datagramsPerSendCall;
    },
  ),
  ofQuicServer(
    "datagrams_per_receive_call",
    "Datagrams that one call received, mean since the start",
    (server) => {
      return server.datagramsPerReceiveCall;
    },
  ),
  ofTcp("connections", "Connections held", {
    child: ({ connectionCount }) => connectionCount,
    parent: ({ connectionCount }) => connectionCount,
  }),
  ofTcp("connections_total", "Connections made", {
    child: ({ dialledCount }) => dialledCount,
    parent: ({ acceptedCount }) => acceptedCount,
  }),
  ofTcp("resumed_connections_total", "Connections made that resumed a TLS session", {
    child: ({ resumedCount }) => resumedCount,
    parent: ({ resumedCount }) => resumedCount,
  }),
  ofTcp("failed_connections_total", "Dials that failed, and connections that were too many", {
    child: ({ failedCount }) => failedCount,
    parent: ({ refusedCount }) => refusedCount,
  }),
];

type ProtocolTotals = TransportReport["protocols"][number];

function ofProtocols(name: string, help: string, read: (each: ProtocolTotals) => number): Figure {
  return {
    name: `damselfly_transport_${name}`,
    help,
    labelNames: ["protocol"],
    valuesOf: ({ protocols }) =>
      protocols.map((each) => ({ labels: { protocol: each.protocol }, value: read(each) })),
  };
}

function byReason(
  name: string,
  help: string,
  read: (each: ProtocolTotals) => Readonly<Partial<Record<string, number>>>,
): Figure {
  return {
    name: `damselfly_transport_${name}`,
    help,
    labelNames: ["protocol", "reason"],
    valuesOf: ({ protocols }) =>
      protocols.flatMap((each) =>
        Object.entries(read(each)).map(([reason, value = 0]) => ({
          labels: { protocol: each.protocol, reason },
          value,
        })),
      ),
  };
}

function countParents({ parents }: TransportReport): Value[] {
  const counts = new Map<string, number>();
  for (const { protocol } of parents) {
    if (protocol !== null) counts.set(protocol, (counts.get(protocol) ?? 0) + 1);
  }
  return [...counts].map(([protocol, value]) => ({ labels: { protocol }, value }));
}

interface Side {
  readonly totals: QuicTotals;
  readonly connections: readonly QuicPeerStats[];
}

function ofTcp(
  name: string,
  help: string,
  read: {
    readonly child: (stats: TcpReport["downloader"]) => number;
    readonly parent: (stats: TcpReport["server"]) => number;
  },
): Figure {
  return {
    name: `damselfly_tcp_${name}`,
    help,
    labelNames: ["side"],
    valuesOf: ({ tcp }) =>
      tcp === null
        ? []
        : [
            { labels: { side: "child" }, value: read.child(tcp.downloader) },
            { labels: { side: "parent" }, value: read.parent(tcp.server) },
          ],
  };
}

function ofQuic(name: string, help: string, read: (side: Side) => number): Figure {
  return {
    name: `damselfly_quic_${name}`,
    help,
    labelNames: ["backend", "side"],
    valuesOf: ({ quic }) =>
      Object.entries(quic).flatMap(([backend, { downloader, server }]) => [
        { labels: { backend, side: "child" }, value: read(downloader) },
        { labels: { backend, side: "parent" }, value: read(server) },
      ]),
  };
}

function ofQuicServer(
  name: string,
  help: string,
  read: (server: TransportReport["quic"][string]["server"]) => number,
): Figure {
  return {
    name: `damselfly_quic_${name}`,
    help,
    labelNames: ["backend"],
    valuesOf: ({ quic }) =>
      Object.entries(quic).map(([backend, { server }]) => ({
        labels: { backend },
        value: read(server),
      })),
  };
}

function mean<Item>(items: readonly Item[], read: (item: Item) => number): number {
  return items.reduce((sum, item) => sum + read(item), 0) / Math.max(items.length, 1);
}

function rememberBriefly<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: { readonly at: number; readonly result: Promise<Result> } | undefined;
  return () => {
    const now = performance.now();
    if (made === undefined || now - made.at > REPORT_AGE_MAX_MS) made = { at: now, result: make() };
    return made.result;
  };
}
