import type { QuicEndpointStats } from "@damselfly/quic";
import type { QuicPeerStats } from "@damselfly/transport-quic";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { ChoiceTotals } from "../data-plane/choice/choice-totals.ts";
import type { ParentReport, TransportReport } from "../data-plane/transport-report.ts";
import { registerTransportMetrics } from "./transport-metrics.ts";

const PARENT: ParentReport = {
  hostId: "parent",
  ip: "192.0.2.7",
  protocol: "quic",
  reason: "38 MB/s",
  rttMs: 50,
  isFar: true,
  runningCount: 0,
  protocols: [],
};

const TOTALS = {
  connectionCount: 3,
  drainingConnectionCount: 0,
  handshakeCount: 2,
  handshakeMs: 100,
  earlyAcceptedCount: 1,
  earlyRefusedCount: 0,
  sentPacketCount: 1000,
  receivedPacketCount: 900,
  lostPacketCount: 10,
  sentBytes: 1_200_000,
  receivedBytes: 1_000_000,
  lostBytes: 12_000,
  retransmittedBytes: 11_000,
  openedStreamCount: 4,
  abandonedStreamCount: 0,
};

const CONNECTION: QuicPeerStats = {
  ...TOTALS,
  ip: "192.0.2.7",
  port: 4006,
  handshakeMs: 50,
  earlyData: "none",
  congestionControl: "bbr",
  rttMs: 50,
  congestionWindowBytes: 100_000,
  packetLength: 1350,
  streamCount: 1,
};

const ENDPOINT: QuicEndpointStats = {
  ...TOTALS,
  dialledCount: 0,
  acceptedCount: 3,
  refusedCount: 0,
  droppedHandshakeCount: 0,
  retryCount: 0,
  resetSentCount: 0,
  receivedDatagramCount: 900,
  sentDatagramCount: 1000,
  sendCallCount: 80,
  sendErrorCount: 0,
  receiveCallCount: 300,
  datagramsPerSendCall: 12.5,
  datagramsPerReceiveCall: 3,
  droppedDatagramCount: 0,
};

function reportOf(totals: ChoiceTotals): TransportReport {
  const common = { redialCount: 0, requestCount: 0, bytesInFlight: 0, parents: [] };
  const further = { ...CONNECTION, rttMs: 100, congestionWindowBytes: 300_000 };
  const lossy = { ...TOTALS, lostPacketCount: 20 };
  const quiche = {
    downloader: { ...common, totals: TOTALS, connections: [CONNECTION, further] },
    server: { ...common, ...ENDPOINT, totals: lossy, connections: [] },
  };
  return {
    mode: "auto",
    offers: [],
    protocols: totals.protocols,
    doubledBytes: totals.doubledBytes,
    parents: [PARENT, { ...PARENT, hostId: "other" }, { ...PARENT, protocol: null }],
    quic: { quiche },
    tcp: {
      downloader: {
        connectionCount: 5,
        idleCount: 1,
        dialledCount: 9,
        resumedCount: 3,
        failedCount: 2,
        dialMs: 40,
        repeatedCount: 0,
      },
      server: {
        connectionCount: 6,
        acceptedCount: 20,
        resumedCount: 4,
        refusedCount: 7,
        requestCount: 0,
        sentLength: 0,
      },
    },
  };
}

describe("registerTransportMetrics", () => {
  it("exports what the report says at each scrape", async () => {
    const totals = new ChoiceTotals();
    const registry = new Registry();
    let reportCount = 0;
    registerTransportMetrics(registry, async () => {
      reportCount += 1;
      return reportOf(totals);
    });
    totals.legEnded({
      protocol: "tcp",
      length: 1000,
      durationMs: 500,
      contentMs: 450,
      how: "left",
    });
    totals.legEnded({
      protocol: "quic",
      length: 3000,
      durationMs: 250,
      contentMs: 240,
      how: "whole",
    });
    totals.moved({ to: "quic", reason: "crawled" });
    totals.doubled(7);
    totals.failed("grpc");
    const decision = { hostId: "parent", words: "" };
    totals.decided({ ...decision, protocol: "tcp", reason: "first" });
    totals.decided({ ...decision, protocol: "quic", reason: "faster" });

    const lines = (await registry.metrics()).split("\n");
    for (const line of [
      'damselfly_transport_received_bytes_total{protocol="tcp"} 1000',
      'damselfly_transport_received_bytes_total{protocol="quic"} 3000',
      'damselfly_transport_pieces_total{protocol="tcp"} 0',
      'damselfly_transport_pieces_total{protocol="quic"} 1',
      'damselfly_transport_piece_seconds_total{protocol="tcp"} 0.5',
      'damselfly_transport_failures_total{protocol="grpc"} 1',
      'damselfly_transport_decisions_total{protocol="quic",reason="faster"} 1',
      'damselfly_transport_moves_total{protocol="quic",reason="crawled"} 1',
      "damselfly_transport_doubled_bytes_total 7",
      'damselfly_transport_parents{protocol="quic"} 2',
      'damselfly_quic_connections{backend="quiche",side="child"} 2',
      'damselfly_quic_handshake_seconds_total{backend="quiche",side="child"} 0.1',
      'damselfly_quic_lost_packets_total{backend="quiche",side="parent"} 20',
      'damselfly_quic_rtt_seconds{backend="quiche",side="child"} 0.075',
      'damselfly_quic_rtt_seconds{backend="quiche",side="parent"} 0',
      'damselfly_quic_congestion_window_bytes{backend="quiche",side="child"} 200000',
      'damselfly_quic_datagrams_per_send_call{backend="quiche"} 12.5',
      'damselfly_tcp_connections{side="child"} 5',
      'damselfly_tcp_connections_total{side="parent"} 20',
      'damselfly_tcp_resumed_connections_total{side="child"} 3',
      'damselfly_tcp_failed_connections_total{side="child"} 2',
      'damselfly_tcp_failed_connections_total{side="parent"} 7',
    ]) {
      expect(lines).toContain(line);
    }
    expect(reportCount).toBe(1);
  });
});
