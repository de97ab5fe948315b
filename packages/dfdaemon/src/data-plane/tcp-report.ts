import type { TcpDownloader, TcpPieceServer } from "@damselfly/transport-tcp";
import type { TcpReport } from "./transport-report.ts";

/** Both sides of TCP. */
export interface TcpParts {
  readonly server: TcpPieceServer;
  readonly downloader: TcpDownloader;
}

/** What both count. */
export function reportTcp({ server, downloader }: TcpParts): TcpReport {
  return { downloader: downloader.stats(), server: server.stats() };
}
