import type { QuicParts } from "./open-quic.ts";
import { type QuicBackendReport, withFewConnections } from "./transport-report.ts";

/** The round trip of the fastest connection to an address, in milliseconds; undefined: there is none. */
export function rttOf(parts: QuicParts, ip: string): number | undefined {
  let best: number | undefined;
  for (const { downloader } of Object.values(parts)) {
    for (const stats of downloader.stats().connections) {
      const isKnown = stats.ip === ip && stats.handshakeMs > 0;
      if (isKnown && stats.rttMs < (best ?? Infinity)) best = stats.rttMs;
    }
  }
  return best;
}

/** What both sides of each backend count. */
export function reportQuic(parts: QuicParts): Record<string, QuicBackendReport> {
  return Object.fromEntries(
    Object.entries(parts).map(([backend, { downloader, server }]) => [
      backend,
      {
        downloader: withFewConnections(downloader.stats()),
        server: withFewConnections(server.stats()),
      },
    ]),
  );
}
