import type { Socket } from "node:net";
import type { Storage } from "@damselfly/storage";
import type { Logger } from "../../../logger.ts";
import type { OriginObserver } from "../../../origins/http-origin.ts";
import type { ContentRates } from "../../content-limits.ts";
import type { HedgeObserver } from "../../relay/hedged-piece.ts";
import type { Channel } from "../link/channel.ts";
import { decodeFault } from "../link/fault.ts";
import { Link } from "../link/link.ts";
import type {
  ControlMethods,
  Progress,
  SocketNote,
  WorkerInit,
  WorkerMethods,
  WorkerReady,
} from "../protocol.ts";
import { HeartbeatWatch } from "./heartbeat-watch.ts";
import { PieceDesk, type UploadObserver } from "./piece-desk.ts";
import { lostError, type ProcessEnd, type WorkerProcess } from "./worker-process.ts";

/** Silence that means that the event loop of a process hangs; another one then has half a second to be there. Milliseconds. */
const SILENCE_MS = 1_300;
/** How often a process says that it lives. Milliseconds. */
export const BEAT_MS = 100;
/** What a process may take to load and to open its servers, however slow the disk. Milliseconds. */
const START_MS_MAX = 30_000;
/** What a process may take to stop: the servers' own bounds, and some. Milliseconds. */
const STOP_MS_MAX = 8_000;
/** A process whose channel has closed is about to be gone; one that is not is of no use. Milliseconds. */
const CLOSED_MS_MAX = 1_000;

const NOTHING_MOVED: ContentRates = { uploadRate: 0, downloadRate: 0, originRate: 0 };

/** What all data-plane processes of a daemon share. */
export interface WorkerSurroundings {
  readonly storage: Pick<Storage, "locatePiece">;
  readonly observer: OriginObserver & UploadObserver & { sent(length: number): void };
  readonly logger: Logger;
}

/** Hears how a content gets on that is open in a process. */
export interface ContentListener {
  /** Called as bytes come, with how many. */
  readonly onBytes?: ((length: number) => void) | undefined;
  /** As in `OriginRead`. */
  readonly onWaited?: ((ms: number) => void) | undefined;
  /** Of a piece. */
  readonly hedging?: HedgeObserver | undefined;
}

/** One data-plane process from its start to its end. */
export class RunningWorker {
  readonly link: Link<WorkerMethods, ControlMethods>;
  /** Resolves when the process is gone. Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  readonly #process: WorkerProcess;
  readonly #desk: PieceDesk;
  #moved: ContentRates = NOTHING_MOVED;
  #movedBefore: ContentRates = NOTHING_MOVED;
  readonly #onSent: (length: number) => void;
  readonly #listeners = new Map<number, ContentListener>();
  #heartbeat: HeartbeatWatch | undefined;
  #ready: WorkerReady | undefined;
  #reason = "ended";
  /** What kept it from being started. */
  #cause: Error | undefined;
  #lastContent = 0;
  #isStopping = false;

  constructor(process: WorkerProcess, { storage, observer, logger }: WorkerSurroundings) {
    this.#process = process;
    this.#desk = new PieceDesk({ storage, observer });
    this.#onSent = (length) => observer.sent(length);
    const desk = this.#desk;
    this.ended = this.#watchEnd();
    this.link = new Link<WorkerMethods, ControlMethods>({
      channel: new LifelongChannel(process.channel, this.ended),
      lost: () => lostError(this.#reason, this.#cause),
      handlers: {
        locate: (params, signal) => desk.locate(params, signal),
        damaged: (params) => desk.damaged(params),
        ended: (params) => desk.ended(params),
        supplierFailed: async ({ content, supplier, fault }) => {
          const { hedging } = this.#listeners.get(content) ?? {};
          return (await hedging?.failed(supplier, decodeFault(fault))) ?? null;
        },
        moved: (moved) => {
          this.#moved = moved;
        },
        tookOver: ({ content, supplier, ...about }) =>
          this.#listeners.get(content)?.hedging?.tookOver(supplier, about),
        passedOver: ({ content, supplier }) =>
          this.#listeners.get(content)?.hedging?.passedOver(supplier),
        progress: (progress) => this.#progressed(progress),
        beat: () => this.#heartbeat?.beat(),
        log: ({ level, fields, message }) => logger[level](fields, message),
        originAsked: (request) => observer.originAsked(request),
        originAnswered: ({ request, failed, costMs }) =>
          observer.originAnswered(request, { failed, costMs }),
      },
    });
  }

  /** What it serves; once it has been started. */
  get ready(): WorkerReady | undefined {
    return this.#ready;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Bytes that have moved at each rate since the last time it was asked. */
  takeMoved(): ContentRates {
    const [now, before] = [this.#moved, this.#movedBefore];
    this.#movedBefore = now;
    return {
      uploadRate: now.uploadRate - before.uploadRate,
      downloadRate: now.downloadRate - before.downloadRate,
      originRate: now.originRate - before.originRate,
    };
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Contents that are open in it. */
  get contentCount(): number {
    return this.#listeners.size;
  }

  /** @throws {DaemonError} `ERR_LISTEN`, and whatever else keeps it from starting; then it is to be ended with `kill` */
  async start(init: WorkerInit): Promise<WorkerReady> {
    const timer = setTimeout(
      () => this.kill(`did not start within ${START_MS_MAX / 1000} s`),
      START_MS_MAX,
    );
    try {
      this.#ready = await this.link.call("start", init);
    } finally {
      clearTimeout(timer);
    }
    this.#heartbeat = new HeartbeatWatch({
      silenceMs: SILENCE_MS,
      onSilence: () => this.kill(`hung: nothing was heard of it for ${SILENCE_MS} ms`),
    });
    return this.#ready;
  }

  /**
   * A number for a content that is to be opened in it. Call `release` when the content is closed.
   *
   * @param listener hears how it gets on
   */
  reserveContent(listener: ContentListener = {}): {
    readonly content: number;
    readonly release: () => void;
  } {
    const content = ++this.#lastContent;
    this.#listeners.set(content, listener);
    return { content, release: () => void this.#listeners.delete(content) };
  }

  handOver(note: SocketNote, socket: Socket): void {
    this.#process.handOver(note, socket);
  }

  /** Connections that it has not taken yet; of one that has ended, those that it never will. */
  untaken(): readonly (readonly [SocketNote, Socket])[] {
    return this.#process.untaken();
  }

  /** Ends it at once. @param reason as in "the process hung" */
  kill(reason: string): void {
    this.#reason = reason;
    this.#process.kill();
  }

  /** Lets it finish what it serves, then ends it. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#heartbeat?.stop();
    const timer = setTimeout(() => this.kill("did not stop"), STOP_MS_MAX);
    try {
      if (this.#ready !== undefined) await this.link.call("stop", null);
    } catch {
      // It is gone already, or will be.
    }
    this.#process.channel.close();
    await this.ended;
    clearTimeout(timer);
  }

  #progressed({ received, sentLength }: Progress): void {
    for (const [content, length, waitedMs, doubledLength] of received) {
      const listener = this.#listeners.get(content);
      if (length > 0) listener?.onBytes?.(length);
      if (doubledLength > 0) listener?.hedging?.doubled(doubledLength);
      if (waitedMs === 0) continue;
      listener?.hedging?.waited(waitedMs);
      listener?.onWaited?.(waitedMs);
    }
    if (sentLength > 0) this.#onSent(sentLength);
  }

  async #watchEnd(): Promise<ProcessEnd> {
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    void this.#process.channel.closed.then(() => {
      if (isOver) return;
      timer = setTimeout(() => this.kill("closed its channel"), CLOSED_MS_MAX);
    });
    const end = await this.#process.ended;
    isOver = true;
    clearTimeout(timer);
    this.#heartbeat?.stop();
    // Of one that was killed for a reason, that is the reason.
    const isKilled = end.signal === "SIGKILL" && this.#reason !== "ended";
    if (!isKilled) this.#reason = end.reason;
    this.#cause = end.cause;
    this.#process.channel.close();
    this.#desk[Symbol.dispose]();
    return { ...end, reason: this.#reason };
  }
}

/** A channel that counts as closed when the process is gone, not before: until then it may write to content files. */
class LifelongChannel implements Channel {
  readonly closed: Promise<void>;
  readonly #channel: Channel;

  constructor(channel: Channel, ended: Promise<unknown>) {
    this.#channel = channel;
    this.closed = ended.then(() => undefined);
  }

  get onMessage(): ((message: unknown) => void) | undefined {
    return this.#channel.onMessage;
  }

  set onMessage(listener: ((message: unknown) => void) | undefined) {
    this.#channel.onMessage = listener;
  }

  send(message: unknown): void {
    this.#channel.send(message);
  }

  close(): void {
    this.#channel.close();
  }
}
