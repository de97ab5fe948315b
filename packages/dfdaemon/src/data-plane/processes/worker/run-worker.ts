import type { Socket } from "node:net";
import { ContentFiles } from "@damselfly/storage";
import { TlsStore } from "@damselfly/transport";
import { DaemonError } from "../../../errors.ts";
import { openHttpOrigin } from "../../../origins/http-origin.ts";
import type { Origin } from "../../../origins/origin.ts";
import { ContentLimits } from "../../content-limits.ts";
import { openTransports, type Transports } from "../../open-transports.ts";
import { PieceTransports } from "../../piece-transports.ts";
import type { Channel } from "../link/channel.ts";
import { Link } from "../link/link.ts";
import {
  PROTOCOL_VERSION,
  type ControlMethods,
  type SocketNote,
  type WorkerInit,
  type WorkerMethods,
  type WorkerReady,
} from "../protocol.ts";
import { ContentDesk } from "./content-desk.ts";
import { ProgressReporter } from "./progress-reporter.ts";
import { createRemoteLogger } from "./remote-logger.ts";
import { RemoteSource } from "./remote-source.ts";

export interface WorkerOptions {
  /** To the control process. */
  readonly channel: Channel;
  /** Has connections handed over from now on; each is this process's alone. */
  readonly onSocket: (listener: (note: SocketNote, socket: Socket) => void) => void;
}

/**
 * A data-plane process: does what the control process says, until the channel closes; then the process is to end at once, whatever still
 * runs. It has no state that would be missed: it may end at any moment. Disposing it closes what it has opened, for whoever runs it in
 * a process of other things.
 */
export function runWorker({ channel, onSocket }: WorkerOptions): AsyncDisposable {
  const worker = new Worker(channel);
  onSocket((note, socket) => worker.take(note, socket));
  return worker;
}

/** How often it is told what has moved, where others share a rate. Milliseconds. */
const SHARE_MS = 1_000;

interface Running {
  readonly transports: Transports;
  readonly pieces: PieceTransports;
  readonly origin: Origin;
  readonly desk: ContentDesk;
  readonly limits: ContentLimits;
}

class Worker implements AsyncDisposable {
  readonly #link: Link<ControlMethods, WorkerMethods>;
  readonly #files = new ContentFiles();
  readonly #progress: ProgressReporter;
  readonly #peerKeys = new Set<string>();
  #serverTls: TlsStore | undefined;
  #clientTls: TlsStore | undefined;
  #running: Running | undefined;
  #beat: NodeJS.Timeout | undefined;
  #share: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(channel: Channel) {
    this.#link = new Link<ControlMethods, WorkerMethods>({
      channel,
      lost: () => new DaemonError("ERR_CLOSED", "Cannot go on: the daemon is gone"),
      handlers: {
        start: (init) => this.#start(init),
        openPiece: (params, signal) => this.#needed.desk.openPiece(params, signal),
        hedge: (params) => this.#needed.desk.hedge(params),
        openOrigin: (params, signal) => this.#needed.desk.openOrigin(params, signal),
        openSpool: (params) => this.#needed.desk.openSpool(params),
        receive: (params, signal) => this.#needed.desk.receive(params, signal),
        skip: (params, signal) => this.#needed.desk.skip(params, signal),
        end: (params, signal) => this.#needed.desk.end(params, signal),
        spool: (params, signal) => this.#needed.desk.spool(params, signal),
        close: (params) => this.#needed.desk.close(params),
        report: () => this.#needed.pieces.report(),
        drain: () => this.#needed.pieces.drain(),
        admitPeer: ({ peerKey }) => void this.#peerKeys.add(peerKey),
        dismissPeer: ({ peerKey }) => void this.#peerKeys.delete(peerKey),
        useIdentities: ({ serverTls, clientTls }) => {
          if (serverTls !== undefined) this.#serverTls?.update(serverTls);
          if (clientTls !== undefined) this.#clientTls?.update(clientTls);
        },
        setRates: (rates) => this.#needed.limits.setRates(rates),
        forget: ({ path }) => this.#files.forget(path),
        stop: () => this[Symbol.asyncDispose](),
      },
    });
    this.#progress = new ProgressReporter((progress) => this.#link.note("progress", progress));
  }

  take({ kind }: SocketNote, socket: Socket): void {
    const { transports } = this.#running ?? {};
    if (transports === undefined) socket.destroy();
    else if (kind === "grpc") transports.grpcServer.take(socket);
    else transports.tcpParts.server.take(socket);
  }

  [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beat);
    clearInterval(this.#share);
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #start(init: WorkerInit): Promise<WorkerReady> {
    if (init.version !== PROTOCOL_VERSION) {
      throw new DaemonError(
        "ERR_DATA_PLANE",
        `Cannot start the data plane: the daemon speaks version ${init.version}, expected ${PROTOCOL_VERSION}`,
      );
    }
    const link = this.#link;
    // From here on: also while servers are being opened.
    this.#beat = setInterval(() => link.note("beat", null), init.beatMs);
    const logger = createRemoteLogger((entry) => link.note("log", entry));
    for (const peerKey of init.quinn.peerKeys) this.#peerKeys.add(peerKey);
    // They may change before the servers are open.
    const { serverTls, clientTls } = init.identities;
    this.#serverTls = serverTls && new TlsStore(serverTls);
    this.#clientTls = clientTls && new TlsStore(clientTls);
    const origin = openHttpOrigin({
      ...init.origin,
      observer: {
        originAsked: (request) => link.note("originAsked", request),
        originAnswered: (request, answer) => link.note("originAnswered", { request, ...answer }),
      },
      logger,
    });
    const limits = new ContentLimits(init.limits);
    const transports = await openTransports({
      ...init.transports,
      serverTls: this.#serverTls,
      clientTls: this.#clientTls,
      limits,
      quinn: {
        privateKey: init.quinn.privateKey,
        isKnownPeer: (peerKey) => this.#peerKeys.has(peerKey),
      },
      isHandedOver: true,
      source: new RemoteSource({
        link,
        files: this.#files,
        onBytes: (length) => this.#progress.sent(length),
      }),
      logger,
    });
    const pieces = new PieceTransports({ ...transports, tls: init.tls, logger });
    const parts = {
      transports: pieces,
      origin,
      files: this.#files,
      progress: this.#progress,
      limits,
      link,
    };
    this.#running = { transports, pieces, origin, limits, desk: new ContentDesk(parts) };
    if (init.isSharing) this.#share = setInterval(() => link.note("moved", limits.moved), SHARE_MS);
    return { offers: pieces.offers, quinnPort: pieces.quinnPort };
  }

  async #stop(): Promise<void> {
    const running = this.#running;
    if (running !== undefined) {
      await running.desk[Symbol.asyncDispose]();
      await running.pieces[Symbol.asyncDispose]();
      await running.origin[Symbol.asyncDispose]();
    }
    await this.#files[Symbol.asyncDispose]();
  }

  get #needed(): Running {
    if (this.#running !== undefined) return this.#running;
    throw new DaemonError("ERR_DATA_PLANE", "Cannot do that: the data plane has not been started");
  }
}
