import type { Downloader, PieceServer, PieceSource, TlsIdentity } from "@damselfly/transport";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import type { StorageConfig } from "../config/config.ts";
import type { Logger } from "../logger.ts";
import { openQuic, type QuicParts, type QuinnTransport } from "./open-quic.ts";

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
  /** Without that of quinn, which is offered apart. */
  readonly servers: readonly PieceServer[];
  readonly quinn?: QuinnTransport | undefined;
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
 * @throws {ServeError | QuicError} when a server cannot listen
 */
export async function openTransports(options: OpenTransportsOptions): Promise<Transports> {
  const { config, source, bindIp, serverTls, clientTls, announceMs, logger } = options;
  const timeouts = { announceMs };
  const mode = config.protocol === "auto" ? "auto" : "in order";
  const grpcServer = await serveGrpc({
    source,
    address: { ip: bindIp, port: config.grpcPort },
    tls: serverTls,
    logger,
  });
  const grpcDownloader = createGrpcDownloader({ tls: clientTls, timeouts });
  try {
    const quic = await openQuic(options);
    if (quic === undefined) {
      return { servers: [grpcServer], downloaders: [grpcDownloader], mode, quicParts: {} };
    }
    const { server, quinn, downloader, parts: quicParts } = quic;
    const downloaders = [downloader, grpcDownloader];
    return {
      servers: [...(server === undefined ? [] : [server]), grpcServer],
      quinn,
      downloaders: config.protocol === "grpc" ? downloaders.toReversed() : downloaders,
      mode,
      quicParts,
    };
  } catch (error) {
    await grpcServer[Symbol.asyncDispose]();
    throw error;
  }
}
