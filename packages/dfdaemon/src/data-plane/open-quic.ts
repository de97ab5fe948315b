import type { Downloader, PieceServer } from "@damselfly/transport";
import { loadQuinn, quinnOpener } from "@damselfly/quinn";
import {
  createQuicDownloader,
  type EndpointTuning,
  type QuicBackend,
  type QuicDownloader,
  type QuicDownloaderOptions,
  type QuicPieceServer,
  serveQuic,
  type ServeQuicOptions,
} from "@damselfly/transport-quic";
import { codeOf } from "../code-of.ts";
import type { QuicConfig } from "../config/config.ts";
import { namingSetting } from "../config/naming-setting.ts";
import { firstHopTo } from "../host/path-mtu.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { BackendChoice } from "./backend-choice.ts";
import type { OpenTransportsOptions } from "./open-transports.ts";
import { TwoBackendDownloader } from "./two-backend-downloader.ts";

export interface QuicTransport {
  /** Of quiche; undefined where it is off, or does not load. */
  readonly server: PieceServer | undefined;
  /** Of quinn, where peers are known by their keys; likewise. */
  readonly quinnServer: PieceServer | undefined;
  readonly downloader: Downloader;
  readonly parts: QuicParts;
}

/** Servers and downloaders by backend, for what they count. */
export type QuicParts = Partial<Readonly<Record<QuicBackend, QuicPart>>>;

export interface QuicPart {
  readonly server: QuicPieceServer;
  readonly downloader: QuicDownloader;
}

/**
 * Starts the QUIC backends that the config asks for and this platform has. Undefined if there is none, which one line
 * of the log says.
 *
 * @throws {DaemonError} `ERR_LISTEN`, {QuicError} of certificates that it cannot use
 */
export async function openQuic(options: OpenTransportsOptions): Promise<QuicTransport | undefined> {
  const { config, logger } = options;
  const { backend } = config.quic;
  const failures: string[] = [];
  const loaded = async <Server>(opening: Promise<Server>): Promise<Server | undefined> => {
    try {
      return await opening;
    } catch (error) {
      if (codeOf(error) !== "ERR_QUIC_UNAVAILABLE") throw error;
      failures.push(messageOf(error));
      return undefined;
    }
  };
  const quiche = backend === "quinn" ? undefined : await loaded(openQuiche(options));
  try {
    const quinn = backend === "quiche" ? undefined : await loaded(openQuinn(options));
    const downloader = joined(quiche?.downloader, quinn?.downloader, logger);
    if (downloader === undefined) {
      logger.warn({}, `QUIC is off, pieces go over TCP: ${failures.join("; ")}`);
      return undefined;
    }
    for (const failure of failures) logger.info({}, `QUIC has one backend only: ${failure}`);
    const parts = {
      ...(quiche === undefined ? {} : { quiche }),
      ...(quinn === undefined ? {} : { quinn }),
    };
    return { server: quiche?.server, quinnServer: quinn?.server, downloader, parts };
  } catch (error) {
    await quiche?.server[Symbol.asyncDispose]();
    throw error;
  }
}

async function openQuiche(options: OpenTransportsOptions): Promise<QuicPart> {
  const { config, bindIp } = options;
  const address = { ip: bindIp, port: config.quic.port };
  const server = await namingSetting(
    "storage.server.quic.port",
    serveQuic({ ...serverOptions(options), address, resetKey: options.resetKey }),
  );
  return { server, downloader: createQuicDownloader(downloaderOptions(options)) };
}

/** One key is that of the port and of what is dialled from. */
async function openQuinn(options: OpenTransportsOptions): Promise<QuicPart> {
  const { config, bindIp, quinn } = options;
  const { privateKey, isKnownPeer } = quinn;
  loadQuinn();
  const server = await namingSetting(
    "storage.server.quic.quinnPort",
    serveQuic({
      ...serverOptions(options),
      address: { ip: bindIp, port: config.quic.quinnPort },
      openEndpoint: quinnOpener({ privateKey, isKnownPeer }),
    }),
  );
  const downloader = createQuicDownloader({
    ...downloaderOptions(options),
    openEndpoint: quinnOpener({ privateKey }),
    backend: "quinn",
  });
  return { server, downloader };
}

function joined(
  quiche: QuicDownloader | undefined,
  quinn: QuicDownloader | undefined,
  logger: Logger,
): Downloader | undefined {
  if (quiche === undefined || quinn === undefined) return quiche ?? quinn;
  const choice = new BackendChoice({ firstHopTo });
  return new TwoBackendDownloader({ downloaders: { quiche, quinn }, choice, logger });
}

function serverOptions(options: OpenTransportsOptions): Omit<ServeQuicOptions, "address"> {
  const { config, source, serverTls, logger } = options;
  const { maxConnections, idleTimeout } = config.quic;
  return {
    source,
    tls: serverTls,
    limits: {
      connectionCountMax: maxConnections,
      connectionsPerAddressMax: Math.ceil(maxConnections / 2),
    },
    idleTimeoutMs: idleTimeout,
    earlyData: config.quic.enable0RTT,
    ...tuningOf(config.quic, logger),
  };
}

function downloaderOptions(options: OpenTransportsOptions): QuicDownloaderOptions {
  const { config, clientTls, announceMs, logger } = options;
  const { maxConnections, idleTimeout } = config.quic;
  return {
    tls: clientTls,
    timeouts: { announceMs },
    pool: { capacity: maxConnections, idleTimeoutMs: idleTimeout },
    bytesInFlightMax: options.limits.quicBytesInFlightMax,
    earlyData: config.quic.enable0RTT,
    ...tuningOf(config.quic, logger),
  };
}

function tuningOf(config: QuicConfig, logger: Logger): EndpointTuning {
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
