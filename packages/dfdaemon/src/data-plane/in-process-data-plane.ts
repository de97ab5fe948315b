import type { Socket } from "node:net";
import type { PieceRecord, Spool, Storage } from "@damselfly/storage";
import type { TcpPieceServer } from "@damselfly/transport-tcp";
import { countBytes } from "../count-bytes.ts";
import type { Origin } from "../origins/origin.ts";
import type { ContentLimits } from "./content-limits.ts";
import { createContentStream, type ContentStream } from "./content-stream.ts";
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
} from "./data-plane.ts";
import type { KnownPeers } from "./known-peers.ts";
import { HedgedPiece, NO_HEDGING } from "./relay/hedged-piece.ts";
import { PieceTransports, type PieceTransportsInit } from "./piece-transports.ts";
import { timeWaits } from "./time-waits.ts";
import type { TransportReport } from "./transport-report.ts";

/** The data plane inside this very process: for tests and small machines. Owns what it is given, but for the origin. */
export class InProcessDataPlane implements DataPlane {
  readonly storage: Storage;
  readonly quinn: QuinnOffer | undefined;
  readonly #origin: Origin;
  readonly #transports: PieceTransports;
  readonly #limits: ContentLimits;
  readonly #tcp: TcpPieceServer | undefined;

  constructor(
    parts: PieceTransportsInit & {
      readonly storage: Storage;
      readonly origin: Origin;
      /** What is received keeps to them. */
      readonly limits: ContentLimits;
      /** With a `quinnServer`: who this node is to its peers, and who may dial. */
      readonly quinn?: { readonly publicKey: Uint8Array; readonly peers: KnownPeers } | undefined;
    },
  ) {
    this.storage = parts.storage;
    this.#origin = parts.origin;
    this.#transports = new PieceTransports(parts);
    this.#limits = parts.limits;
    this.#tcp = parts.tcpParts?.server;
    const { quinnPort: port } = this.#transports;
    if (port === undefined || parts.quinn === undefined) return;
    const { publicKey, peers } = parts.quinn;
    this.quinn = { ports: [port], publicKey, admit: peers.admit.bind(peers) };
  }

  get offers(): readonly TransportOffer[] {
    return this.#transports.offers;
  }

  acceptForeign(socket: Socket): void {
    if (this.#tcp === undefined) socket.destroy();
    else this.#tcp.accept(socket);
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { task, parent, signal, onBytes, hedging } = fetch;
    const wanted = wantedOf(fetch);
    let opening: HedgedPiece | undefined;
    hedging?.began((supplier) => opening?.offer(supplier));
    await using incoming = await this.#limits.openPiece(wanted.length, signal, async () => {
      const piece = new HedgedPiece({
        wanted,
        mayTry: mayTryWith(task),
        transports: this.#transports,
        origin: this.#limits.limitOrigin(this.#origin),
        observer: hedging ?? NO_HEDGING,
        signal,
      });
      opening = piece;
      await piece.open({ id: 0, kind: "parent", address: parent });
      return piece;
    });
    const { content } = incoming;
    const { announcement } = incoming.opened;
    return await task.writePiece(
      draftOf(announcement, wanted),
      onBytes === undefined ? content : countBytes(content, onBytes),
    );
  }

  async readOrigin(read: OriginRead): Promise<OriginContent> {
    const { request, range, target, onBytes, onWaited } = read;
    const { signal = new AbortController().signal } = read;
    const body = await this.#limits.openBody(signal, () =>
      range === undefined
        ? this.#origin.readAll(request, { signal })
        : this.#origin.readRange(request, range, range.expected, { signal, target }),
    );
    const timed = onWaited === undefined ? body.content : timeWaits(body.content, onWaited);
    const stream = createContentStream(onBytes === undefined ? timed : countBytes(timed, onBytes));
    return {
      stat: body.opened.stat,
      next: (length) => stream.next(length),
      all: () => stream.all(),
      end: () => stream.end(),
      async [Symbol.asyncDispose]() {
        await stream[Symbol.asyncDispose]();
        await body[Symbol.asyncDispose]();
      },
    };
  }

  async spoolOrigin({
    request,
    signal = new AbortController().signal,
    onBytes,
  }: Omit<OriginRead, "range">): Promise<SpooledOrigin> {
    await using body = await this.#limits.openBody(signal, () =>
      this.#origin.readAll(request, { signal }),
    );
    const content = onBytes === undefined ? body.content : countBytes(body.content, onBytes);
    return { stat: body.opened.stat, spool: await this.storage.spool(content) };
  }

  async openSpool(spool: Spool): Promise<ContentStream> {
    return createContentStream(spool.read({ offset: 0, length: spool.length }));
  }

  async transportReport(): Promise<TransportReport> {
    return this.#transports.report();
  }

  async drain(): Promise<void> {
    await this.#transports.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transports[Symbol.asyncDispose]();
    await this.storage[Symbol.asyncDispose]();
  }
}
