import type { EndpointTuning } from "@damselfly/transport-quic";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import type { Downloader, PieceServer, PieceSource, TlsIdentity } from "@damselfly/transport";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { codeOf } from "../code-of.ts";
import type { StorageConfig } from "../config/config.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";

export interface OpenTransportsOptions {
  readonly config: StorageConfig["server"];
  readonly source: PieceSource;
  /** Where the servers listen. */
  readonly bindIp: string;
  /** To those who dial us. */
  readonly serverTls: TlsIdentity | undefined;
  /** To those we dial. */
  readonly clientTls: TlsIdentity | undefined;
  /** How long a parent may take to announce a piece that it is still receiving. Milliseconds. */
  readonly announceMs: number;
  readonly logger: Logger;
}

export interface Transports {
  readonly servers: readonly PieceServer[];
  /** The configured protocol first; the others for parents that do not offer it, or where it does not get through. */
  readonly downloaders: readonly Downloader[];
}

/**
 * Starts every piece server there is, and makes the downloaders. Without a QUIC library for this platform everything else works, and
 * one line says so.
 *
 * @throws {ServeError | QuicError} when a server cannot listen
 */
export async function openTransports(options: OpenTransportsOptions): Promise<Transports> {
  const { config, source, bindIp, serverTls, clientTls, announceMs, logger } = options;
  const timeouts = { announceMs };
  const grpcServer = await serveGrpc({
    source,
    address: { ip: bindIp, port: config.grpcPort },
    tls: serverTls,
    logger,
  });
  const grpcDownloader = createGrpcDownloader({ tls: clientTls, timeouts });
  try {
    const quicServer = await openQuicServer(options);
    if (quicServer === undefined) {
      return { servers: [grpcServer], downloaders: [grpcDownloader] };
    }
    const { maxConnections, idleTimeout } = config.quic;
    const quicDownloader = createQuicDownloader({
      tls: clientTls,
      timeouts,
      pool: { capacity: maxConnections, idleTimeoutMs: idleTimeout },
      earlyData: config.quic.enable0RTT,
      ...tuningOf(config.quic, logger),
    });
    const downloaders = [quicDownloader, grpcDownloader];
    return {
      servers: [quicServer, grpcServer],
      downloaders: config.protocol === "quic" ? downloaders : downloaders.toReversed(),
    };
  } catch (error) {
    await grpcServer[Symbol.asyncDispose]();
    throw error;
  }
}

async function openQuicServer(options: OpenTransportsOptions): Promise<PieceServer | undefined> {
  const { config, source, bindIp, serverTls, logger } = options;
  const { port, maxConnections, idleTimeout } = config.quic;
  try {
    return await serveQuic({
      source,
      address: { ip: bindIp, port },
      tls: serverTls,
      limits: { connectionCountMax: maxConnections },
      idleTimeoutMs: idleTimeout,
      earlyData: config.quic.enable0RTT,
      ...tuningOf(config.quic, logger),
    });
  } catch (error) {
    if (codeOf(error) !== "ERR_QUIC_UNAVAILABLE") throw error;
    logger.warn({}, `QUIC is off, pieces go over gRPC: ${messageOf(error)}`);
    return undefined;
  }
}

function tuningOf(config: StorageConfig["server"]["quic"], logger: Logger): EndpointTuning {
  const { congestionControl, udp, packetLength, bufferSize, keyLog } = config;
  return {
    congestionControl,
    udp,
    packetLength,
    bufferLength: bufferSize,
    ...(keyLog === "" ? {} : { keyLogPath: keyLog }),
    logger,
  };
}
