import type { Downloader, PieceServer, PieceSource, Protocol, Tls } from "@damselfly/transport";
import type { QuinnEndpointOptions } from "@damselfly/quinn";
import { createGrpcDownloader, type GrpcPieceServer, serveGrpc } from "@damselfly/transport-grpc";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";
import type { StorageConfig } from "../config/config.ts";
import { namingSetting } from "../config/naming-setting.ts";
import type { Logger } from "../logger.ts";
import type { ContentLimits } from "./content-limits.ts";
import { LimitedSource } from "./limited-source.ts";
import type { TcpParts } from "./tcp-report.ts";
import { openQuic, type QuicParts, type QuicTransport } from "./open-quic.ts";

export interface OpenTransportsOptions {
  readonly config: StorageConfig["server"];
  readonly source: PieceSource;
  /** Where the servers listen. */
  readonly bindIp: string;
  /** To those who dial us. */
  readonly serverTls: Tls | undefined;
  /** To those we dial. */
  readonly clientTls: Tls | undefined;
  /** Children without TLS are served too: Dragonfly's have none. Over TCP alone, where there are certificates. */
  readonly plainPeers: boolean;
  /** How long a parent may take to announce a piece that it is still receiving. Milliseconds. */
  readonly announceMs: number;
  /** Who this node is to quinn's peers, and which of them may dial. */
  readonly quinn: Pick<QuinnEndpointOptions, "privateKey"> & {
    readonly isKnownPeer: (peerKey: string) => boolean;
  };
  /** See `QuicEndpointOptions.resetKey`. */
  readonly resetKey?: Uint8Array | undefined;
  /** Of this process; what is served keeps to them, and so does QUIC. */
  readonly limits: ContentLimits;
  /** Neither of QUIC's backends is opened. */
  readonly withoutQuic?: boolean | undefined;
  /** Somebody else listens on the TCP ports and hands over what he accepts. */
  readonly isHandedOver?: boolean | undefined;
  readonly logger: Logger;
}

export interface Transports {
  /** Without that of quinn, which is offered apart. */
  readonly servers: readonly PieceServer[];
  readonly quinnServer?: PieceServer | undefined;
  /** Its server is one of those above; it takes over plain connections that others have accepted. */
  readonly tcpParts: TcpParts;
  /** Likewise. */
  readonly grpcServer: GrpcPieceServer;
  /** The configured protocol first; the others for parents that do not offer it, or where it does not get through. */
  readonly downloaders: readonly Downloader[];
  /** Whether the order of `downloaders` decides, or what is measured. */
  readonly mode: "auto" | "in order";
  /** Empty where QUIC is off. */
  readonly quicParts: QuicParts;
}

/**
 * Starts every piece server there is, and makes the downloaders. Without a QUIC library for this platform everything else works, and
 * one line says so.
 *
 * @throws {DaemonError} `ERR_LISTEN`; and what a server says of certificates that it cannot use
 */
export async function openTransports(options: OpenTransportsOptions): Promise<Transports> {
  const { config, bindIp, serverTls, clientTls, announceMs, limits, logger } = options;
  const source = new LimitedSource(options.source, limits);
  const timeouts = { announceMs };
  const mode = config.protocol === "auto" ? "auto" : "in order";
  const servers: PieceServer[] = [];
  try {
    const tcp = await namingSetting(
      "storage.server.tcpPort",
      serveTcp({
        source,
        address: { ip: bindIp, port: config.tcpPort },
        tls: serverTls,
        plain: options.plainPeers,
        isHandedOver: options.isHandedOver,
        logger,
      }),
    );
    servers.push(tcp);
    const grpc = await namingSetting(
      "storage.server.grpcPort",
      serveGrpc({
        source,
        address: { ip: bindIp, port: config.grpcPort },
        tls: serverTls,
        isHandedOver: options.isHandedOver,
        logger,
      }),
    );
    servers.push(grpc);
    const quic: QuicTransport | undefined =
      options.withoutQuic === true ? undefined : await openQuic({ ...options, source });
    if (quic?.server !== undefined) servers.push(quic.server);
    const tcpDownloader = createTcpDownloader({ tls: clientTls, timeouts });
    const downloaders = [
      tcpDownloader,
      ...(quic === undefined ? [] : [quic.downloader]),
      createGrpcDownloader({ tls: clientTls, timeouts }),
    ];
    return {
      servers,
      quinnServer: quic?.quinnServer,
      tcpParts: { server: tcp, downloader: tcpDownloader },
      grpcServer: grpc,
      downloaders: inOrder(downloaders, config.protocol),
      mode,
      quicParts: quic?.parts ?? {},
    };
  } catch (error) {
    for (const server of servers) await server[Symbol.asyncDispose]();
    throw error;
  }
}

function inOrder(
  downloaders: readonly Downloader[],
  first: Protocol | "auto",
): readonly Downloader[] {
  const rank = ({ protocol }: Downloader): number => (protocol === first ? 0 : 1);
  return downloaders.toSorted((one, other) => rank(one) - rank(other));
}
