import type { Socket } from "node:net";
import type { PieceRecord, Spool, Storage } from "@damselfly/storage";
import type { ServerAddress } from "@damselfly/transport";
import { codeOf } from "../../../code-of.ts";
import type { Logger } from "../../../logger.ts";
import { assertAnnounced } from "../../assert-announced.ts";
import type { ContentRates } from "../../content-limits.ts";
import type { ContentStream } from "../../content-stream.ts";
import {
  mayTryWith,
  type DataPlane,
  type OriginContent,
  type OriginRead,
  type PieceFetch,
  type QuinnOffer,
  type SpooledOrigin,
  type TransportOffer,
} from "../../data-plane.ts";
import type { KnownPeers } from "../../known-peers.ts";
import type { TransportReport } from "../../transport-report.ts";
import { relayToPort } from "./relay-to-port.ts";
import { mergeReports } from "./merge-reports.ts";
import { RemoteContent } from "./remote-content.ts";
import type { RunningWorker } from "./running-worker.ts";
import { shareRates } from "./share-rates.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** How often a piece is asked for whose fetching process ended in the middle: it may be the piece that ends it. */
const ATTEMPTS_MAX = 4;

/** How often rates are divided anew. Milliseconds. */
const SHARE_MS = 1_000;

export interface RemoteDataPlaneInit {
  readonly storage: Storage;
  readonly slots: readonly WorkerSlot[];
  /** What listens for them. */
  readonly fronts: readonly AsyncDisposable[];
  /** Called when it is over: nobody is to be told any more whom to trust. */
  readonly unfollow: () => void;
  /** Where Vortex over TCP is served. */
  readonly tcpAddress: ServerAddress;
  readonly quinn: { readonly publicKey: Uint8Array; readonly peers: KnownPeers };
  readonly mode: TransportReport["mode"];
  /** Divided among the processes, again and again; absent: none has a bound. */
  readonly rates?: ContentRates | undefined;
  readonly logger: Logger;
}

/** The data plane in processes of its own. Owns what it is given. */
export class RemoteDataPlane implements DataPlane {
  readonly storage: Storage;
  readonly #init: RemoteDataPlaneInit;
  readonly #sharing: NodeJS.Timeout | undefined;

  constructor(init: RemoteDataPlaneInit) {
    this.storage = init.storage;
    this.#init = init;
    const { rates } = init;
    if (rates === undefined) return;
    this.#sharing = setInterval(() => this.#share(rates), SHARE_MS);
    this.#sharing.unref();
  }

  get offers(): readonly TransportOffer[] {
    const offers = new Map<string, TransportOffer>();
    for (const { ready } of this.#workers) {
      for (const offer of ready?.offers ?? []) {
        const ports = new Set([...(offers.get(offer.protocol)?.ports ?? []), ...offer.ports]);
        offers.set(offer.protocol, { ...offer, ports: [...ports] });
      }
    }
    return [...offers.values()];
  }

  get quinn(): QuinnOffer | undefined {
    const { publicKey, peers } = this.#init.quinn;
    const ports = this.#workers
      .map(({ ready }) => ready?.quinnPort)
      .filter((port) => port !== undefined);
    if (ports.length === 0) return undefined;
    return { ports, publicKey, admit: peers.admit.bind(peers) };
  }

  acceptForeign(socket: Socket): void {
    relayToPort(socket, this.#init.tcpAddress);
  }

  /** Another file lies under that name now, or none: nobody is to keep it open. */
  forget(path: string): void {
    for (const { link } of this.#workers) link.note("forget", { path });
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { pieceNumber, task, signal } = fetch;
    for (let attempt = 1; ; attempt += 1) {
      const worker = await this.#worker(signal);
      try {
        return await this.#fetch(worker, fetch);
      } catch (error) {
        if (codeOf(error) !== "ERR_DATA_PLANE_LOST" || attempt === ATTEMPTS_MAX) throw error;
        const { taskId } = task.facts;
        this.#init.logger.debug({ taskId, piece: pieceNumber }, "piece is asked for again");
      }
    }
  }

  async readOrigin(read: OriginRead): Promise<OriginContent> {
    const { request, range, target, signal } = read;
    const worker = await this.#worker(signal);
    const { content, release } = worker.reserveContent(read.onBytes ?? (() => {}));
    try {
      const asked = { content, request, range, target };
      const stat = await worker.link.call("openOrigin", asked, { signal });
      const body = new RemoteContent({ worker, content, release, signal });
      return {
        stat,
        next: (length) => body.next(length),
        all: () => body.all(),
        end: () => body.end(),
        [Symbol.asyncDispose]: () => body[Symbol.asyncDispose](),
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  async spoolOrigin(read: Omit<OriginRead, "range">): Promise<SpooledOrigin> {
    const { request, signal } = read;
    const worker = await this.#worker(signal);
    const { content, release } = worker.reserveContent(read.onBytes ?? (() => {}));
    await using body = new RemoteContent({ worker, content, release, signal });
    const stat = await worker.link.call(
      "openOrigin",
      { content, request, range: undefined, target: undefined },
      { signal },
    );
    const spool = await this.storage.spool({
      spoolTo: (path, options) => body.spoolTo(path, options),
    });
    return { stat, spool };
  }

  async openSpool({ path, length }: Spool): Promise<ContentStream> {
    const worker = await this.#worker(undefined);
    const { content, release } = worker.reserveContent(() => {});
    const stream = new RemoteContent({ worker, content, release, signal: undefined });
    try {
      await worker.link.call("openSpool", { content, path, length });
    } catch (error) {
      release();
      throw error;
    }
    return stream;
  }

  async transportReport(): Promise<TransportReport> {
    const reports = await Promise.all(
      this.#workers.map(async ({ link }) => {
        try {
          return await link.call("report", null);
        } catch {
          return undefined; // It has just ended; the next report is another one's.
        }
      }),
    );
    const merged = mergeReports(reports.filter((report) => report !== undefined));
    const { mode } = this.#init;
    const none = { mode, protocols: [], doubledBytes: 0, parents: [], quic: {}, tcp: null };
    return { ...(merged ?? none), offers: this.offers };
  }

  async drain(): Promise<void> {
    for (const front of this.#init.fronts) await front[Symbol.asyncDispose]();
    await Promise.all(
      this.#workers.map(async ({ link }) => {
        try {
          await link.call("drain", null);
        } catch {
          // It has just ended, and serves nobody any more.
        }
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#init.unfollow();
    clearInterval(this.#sharing);
    for (const front of this.#init.fronts) await front[Symbol.asyncDispose]();
    await Promise.all(this.#init.slots.map((slot) => slot.stop()));
    await this.storage[Symbol.asyncDispose]();
  }

  #share(rates: ContentRates): void {
    const workers = this.#workers;
    const shares = shareRates(
      rates,
      workers.map((worker) => worker.takeMoved()),
    );
    for (const [index, { link }] of workers.entries()) {
      const share = shares[index];
      if (share !== undefined) link.note("setRates", share);
    }
  }

  get #workers(): RunningWorker[] {
    return this.#init.slots.map(({ current }) => current).filter((worker) => worker !== undefined);
  }

  /** The process with the least to do; if none is there, the next one that will be. */
  async #worker(signal: AbortSignal | undefined): Promise<RunningWorker> {
    const [idlest] = this.#workers.toSorted((one, other) => one.contentCount - other.contentCount);
    if (idlest !== undefined) return idlest;
    return await Promise.any(this.#init.slots.map((slot) => slot.running(signal))).catch(
      (error: unknown) => {
        throw error instanceof AggregateError ? error.errors[0] : error;
      },
    );
  }

  async #fetch(worker: RunningWorker, fetch: PieceFetch): Promise<PieceRecord> {
    const { task, pieceNumber, parent, signal, onBytes = () => {} } = fetch;
    const { length } = task.bounds(pieceNumber);
    const request = { taskId: task.facts.taskId, pieceNumber, expectedLength: length };
    const { content, release } = worker.reserveContent(onBytes);
    await using body = new RemoteContent({ worker, content, release, signal });
    const piece = await worker.link.call(
      "openPiece",
      { content, parent, request, mayTry: mayTryWith(task) },
      { signal },
    );
    assertAnnounced(piece, fetch);
    const draft = {
      number: pieceNumber,
      digest: piece.digest,
      trafficType: "REMOTE_PEER" as const,
      parentId: parent.hostId,
    };
    return await task.writePiece(draft, body.all().content);
  }
}
