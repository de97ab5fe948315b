import { randomBytes } from "node:crypto";
import { createIdentity } from "@damselfly/quinn";
import type { Storage } from "@damselfly/storage";
import type { Tls } from "@damselfly/transport";
import type { StorageConfig } from "../../../config/config.ts";
import { namingSetting } from "../../../config/naming-setting.ts";
import type { Logger } from "../../../logger.ts";
import type { ContentLimitsInit } from "../../content-limits.ts";
import { KnownPeers } from "../../known-peers.ts";
import {
  PROTOCOL_VERSION,
  type SocketNote,
  type WorkerInit,
  type WorkerOriginInit,
  type WorkerReady,
} from "../protocol.ts";
import { followTrust, identitiesOf } from "./follow-trust.ts";
import { QuicPolicy } from "./quic-policy.ts";
import { RemoteDataPlane } from "./remote-data-plane.ts";
import { BEAT_MS, type WorkerSurroundings } from "./running-worker.ts";
import { SocketDispatch } from "./socket-dispatch.ts";
import { openSocketFront } from "./socket-front.ts";
import { type WorkerProcess } from "./worker-process.ts";
import { type DataPlaneObserver, WorkerSlot } from "./worker-slot.ts";

/** Every further process has its UDP ports so much above those of the one before. */
const PORT_STEP = 10;

export interface OpenRemoteDataPlaneOptions {
  readonly storage: Storage;
  /** Processes. */
  readonly count: number;
  readonly spawn: () => WorkerProcess;
  readonly config: StorageConfig["server"];
  /** Where the piece servers listen. */
  readonly bindIp: string;
  readonly serverTls: Tls | undefined;
  readonly clientTls: Tls | undefined;
  readonly plainPeers: boolean;
  /** How long a parent may take to announce a piece that it is still receiving. Milliseconds. */
  readonly announceMs: number;
  readonly origin: WorkerOriginInit;
  /** Of all processes together. */
  readonly limits: ContentLimitsInit;
  readonly tls: boolean;
  readonly observer: WorkerSurroundings["observer"] & DataPlaneObserver;
  readonly logger: Logger;
}

/**
 * Starts the processes that move content, and what listens for them.
 *
 * @throws {DaemonError} `ERR_LISTEN`; and what keeps a process from starting
 */
export async function openRemoteDataPlane(
  options: OpenRemoteDataPlaneOptions,
): Promise<RemoteDataPlane> {
  const { storage, count, config, bindIp, logger, observer } = options;
  const dispatch = new SocketDispatch();
  const listen = (kind: SocketNote["kind"], port: number) =>
    openSocketFront({
      address: { ip: bindIp, port },
      accept: (socket) => dispatch.take({ kind }, socket),
      logger,
    });
  const opened: AsyncDisposable[] = [];
  try {
    const tcp = await namingSetting("storage.server.tcpPort", listen("tcp", config.tcpPort));
    opened.push(tcp);
    const grpc = await namingSetting("storage.server.grpcPort", listen("grpc", config.grpcPort));
    opened.push(grpc);
    const ports = { tcpPort: tcp.address.port, grpcPort: grpc.address.port };
    const identity = createIdentity();
    const resetKey = randomBytes(32);
    const peers = new KnownPeers({ tls: options.serverTls });
    const quicPolicy = new QuicPolicy((endCount) => {
      observer.quicLeftOut();
      logger.error(
        { endCount },
        `QUIC IS LEFT OUT from now on: data-plane processes have ended ${endCount} times within ten minutes. ` +
          "Pieces come and go over TCP and gRPC until this daemon is started anew",
      );
      for (const slot of slots) slot.leaveQuicOut();
    });
    const slots: readonly WorkerSlot[] = Array.from({ length: count }, (_, number) => {
      const quic = portsOf(config.quic, number);
      return new WorkerSlot({
        number,
        spawn: options.spawn,
        initOf: ({ former, withoutQuic }) =>
          initOf(options, {
            config: { ...config, ...ports, quic: portsAgain(quic, former) },
            withoutQuic,
            resetKey,
            quinn: { privateKey: identity.privateKey, peerKeys: peers.peerKeys },
          }),
        surroundings: { storage, observer, logger },
        quic: quicPolicy,
        observer,
        onReady: (worker) => dispatch.add(worker),
        logger,
      });
    });
    const unfollow = followTrust({
      ...options,
      peers,
      takers: () => slots.map(({ newest }) => newest?.link).filter((link) => link !== undefined),
    });
    const dataPlane = new RemoteDataPlane({
      storage,
      slots,
      fronts: [tcp, grpc],
      unfollow,
      tcpAddress: tcp.address,
      quinn: { publicKey: identity.publicKey, peers },
      mode: config.protocol === "auto" ? "auto" : "in order",
      ...(isSharing(options) ? { rates: options.limits } : {}),
      logger,
    });
    try {
      await Promise.all(slots.map((slot) => slot.open()));
    } catch (error) {
      unfollow();
      await Promise.all(slots.map((slot) => slot.stop()));
      throw error;
    }
    return dataPlane;
  } catch (error) {
    for (const front of opened) await front[Symbol.asyncDispose]();
    throw error;
  }
}

function initOf(
  options: OpenRemoteDataPlaneOptions,
  state: {
    readonly config: StorageConfig["server"];
    readonly withoutQuic: boolean;
    readonly resetKey: Uint8Array;
    readonly quinn: WorkerInit["quinn"];
  },
): WorkerInit {
  const { bindIp, plainPeers, announceMs, origin, limits, tls } = options;
  const { config, withoutQuic, resetKey, quinn } = state;
  return {
    version: PROTOCOL_VERSION,
    transports: {
      config,
      bindIp,
      plainPeers,
      announceMs,
      resetKey,
      withoutQuic,
    },
    identities: identitiesOf(options),
    quinn,
    origin,
    limits: {
      memoryLimit: limits.memoryLimit / options.count,
      uploadRate: limits.uploadRate / options.count,
      downloadRate: limits.downloadRate / options.count,
      originRate: limits.originRate / options.count,
    },
    isSharing: isSharing(options),
    tls,
    beatMs: BEAT_MS,
  };
}

/** Whether there is a rate that several processes share. */
function isSharing({ count, limits }: OpenRemoteDataPlaneOptions): boolean {
  const { uploadRate, downloadRate, originRate } = limits;
  return count > 1 && Math.min(uploadRate, downloadRate, originRate) < Infinity;
}

type QuicConfig = StorageConfig["server"]["quic"];

/** The ports of a process; 0 stays what it is, a free one. */
function portsOf(quic: QuicConfig, number: number): QuicConfig {
  const step = (port: number): number => (port === 0 ? 0 : port + PORT_STEP * number);
  return { ...quic, port: step(quic.port), quinnPort: step(quic.quinnPort) };
}

/** Those of the process whose place another one takes: children know them. */
function portsAgain(quic: QuicConfig, former: WorkerReady | undefined): QuicConfig {
  if (former === undefined) return quic;
  const [port = quic.port] = former.offers.find(({ protocol }) => protocol === "quic")?.ports ?? [];
  return { ...quic, port, quinnPort: former.quinnPort ?? quic.quinnPort };
}
