import type { Socket } from "node:net";
import type { PieceRecord, Spool, Storage } from "@damselfly/storage";
import type { ServerAddress } from "@damselfly/transport";
import { codeOf } from "../../../code-of.ts";
import type { Logger } from "../../../logger.ts";
import type { ContentRates } from "../../content-limits.ts";
import type { ContentStream } from "../../content-stream.ts";
import {
  draftOf,
  mayTryWith,
  wantedOf,
  type DataPlane,
  type OriginContent,
  type OriginRead,
  type PieceFetch,
  type QuinnOffer,
  type SpooledOrigin,
  type TransportOffer,
} from "../../data-plane.ts";
import type { KnownPeers } from "../../known-peers.ts";
import type { HedgeObserver } from "../../relay/hedged-piece.ts";
import type { Supplier } from "../../relay/supplier.ts";
import type { TransportReport } from "../../transport-report.ts";
import type { WorkerReady } from "../protocol.ts";
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
  readonly #relayed = new Set<Socket>();

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
    for (const ready of this.#served) {
      for (const offer of ready.offers) {
        const ports = new Set([...(offers.get(offer.protocol)?.ports ?? []), ...offer.ports]);
        offers.set(offer.protocol, { ...offer, ports: [...ports] });
      }
    }
    return [...offers.values()];
  }

  get quinn(): QuinnOffer | undefined {
    const { publicKey, peers } = this.#init.quinn;
    const ports = this.#served
      .map(({ quinnPort }) => quinnPort)
      .filter((port) => port !== undefined);
    if (ports.length === 0) return undefined;
    return { ports, publicKey, admit: peers.admit.bind(peers) };
  }

  acceptForeign(socket: Socket): void {
    this.#relayed.add(socket);
    socket.once("close", () => this.#relayed.delete(socket));
    relayToPort(socket, this.#init.tcpAddress);
  }

  /** Another file lies under that name now, or none: nobody is to keep it open. */
  forget(path: string): void {
    for (const { link } of this.#workers) link.note("forget", { path });
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { pieceNumber, task, signal, hedging, parent } = fetch;
    const lead = new Lead({ id: 0, kind: "parent", address: parent }, hedging);
    for (let attempt = 1; ; attempt += 1) {
      const worker = await this.#worker(signal);
      try {
        return await this.#fetch(worker, fetch, lead);
      } catch (error) {
        if (codeOf(error) !== "ERR_DATA_PLANE_LOST" || attempt === ATTEMPTS_MAX) throw error;
        hedging?.lost(lead.supplier.id);
        const { taskId } = task.facts;
        this.#init.logger.debug({ taskId, piece: pieceNumber }, "piece is asked for again");
      }
    }
  }

  async readOrigin(read: OriginRead): Promise<OriginContent> {
    const { request, range, target, signal, onBytes, onWaited } = read;
    const worker = await this.#worker(signal);
    const { content, release } = worker.reserveContent({ onBytes, onWaited });
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
    let length = 0;
    let tell: (length: number) => void = () => {};
    const onBytes = (count: number): void => {
      read.onBytes?.(count);
      length += count;
      tell(length);
    };
    const { content, release } = worker.reserveContent({ onBytes });
    await using body = new RemoteContent({ worker, content, release, signal });
    const stat = await worker.link.call(
      "openOrigin",
      { content, request, range: undefined, target: undefined },
      { signal },
    );
    const spool = await this.storage.spool({
      spoolTo: (path, options) => {
        tell = options.onLength;
        tell(length);
        return body.spoolTo(path, options);
      },
    });
    return { stat, spool };
  }

  async openSpool({ path, length }: Spool): Promise<ContentStream> {
    const worker = await this.#worker(undefined);
    const { content, release } = worker.reserveContent();
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
    // Nobody else knows them: one whose child takes nothing more would keep this process for as long as it may be still.
    for (const socket of this.#relayed) socket.destroy();
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

  /** What can be fetched from us. While every process is being replaced, what will be again: who hears of nothing looks elsewhere for good. */
  get #served(): readonly WorkerReady[] {
    const workers = this.#workers;
    const served =
      workers.length > 0
        ? workers.map(({ ready }) => ready)
        : this.#init.slots.map(({ lastReady }) => lastReady);
    return served.filter((ready) => ready !== undefined);
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

  async #fetch(worker: RunningWorker, fetch: PieceFetch, lead: Lead): Promise<PieceRecord> {
    const { task, signal, onBytes, hedging } = fetch;
    const wanted = wantedOf(fetch);
    const { content, release } = worker.reserveContent({ onBytes, hedging: lead.observer });
    await using body = new RemoteContent({ worker, content, release, signal });
    hedging?.began((supplier) => {
      lead.know(supplier);
      worker.link.note("hedge", { content, supplier });
    });
    const announcement = await worker.link.call(
      "openPiece",
      {
        content,
        wanted,
        first: lead.supplier,
        mayTry: mayTryWith(task),
        isHedged: hedging !== undefined,
      },
      { signal },
    );
    return await task.writePiece(draftOf(announcement, wanted), body.all().content);
  }
}

/** Whom a piece comes from: that one is asked first when it has to be asked for again. */
class Lead {
  readonly observer: HedgeObserver | undefined;
  readonly #suppliers = new Map<number, Supplier>();
  #supplier: Supplier;

  constructor(first: Supplier, hedging: HedgeObserver | undefined) {
    this.#supplier = first;
    this.know(first);
    if (hedging === undefined) return;
    this.observer = {
      tookOver: (id, about) => {
        this.#supplier = this.#suppliers.get(id) ?? this.#supplier;
        hedging.tookOver(id, about);
      },
      passedOver: (id) => hedging.passedOver(id),
      failed: async (id, error) => {
        const other = await hedging.failed(id, error);
        if (other !== undefined) this.know(other);
        return other;
      },
      waited: (ms) => hedging.waited(ms),
      doubled: (length) => hedging.doubled(length),
    };
  }

  get supplier(): Supplier {
    return this.#supplier;
  }

  know(supplier: Supplier): void {
    this.#suppliers.set(supplier.id, supplier);
  }
}
