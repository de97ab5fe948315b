import type { PieceRecord, Storage } from "@damselfly/storage";
import {
  TransportError,
  type Downloader,
  type PieceDownload,
  type PieceServer,
} from "@damselfly/transport";
import { countBytes } from "../count-bytes.ts";
import { SILENT_LOGGER, type Logger } from "../logger.ts";
import { ChoiceTotals } from "./choice/choice-totals.ts";
import { TransportChooser, type TransportChooserInit } from "./choice/transport-chooser.ts";
import type { DataPlane, PieceFetch, QuinnOffer, TransportOffer } from "./data-plane.ts";
import type { QuicParts } from "./open-quic.ts";
import { reportQuic, rttOf } from "./quic-report.ts";
import { reportTcp, type TcpParts } from "./tcp-report.ts";
import { reportParents, type TransportReport } from "./transport-report.ts";

/** With no more pieces missing than these, one that is late is what everybody waits for: nothing is tried out. */
const TRIAL_TAIL = 16;

/** The data plane inside this very process: for tests and small machines. Owns what it is given. */
export class InProcessDataPlane implements DataPlane {
  readonly storage: Storage;
  readonly offers: readonly TransportOffer[];
  readonly quinn: QuinnOffer | undefined;
  readonly #servers: readonly PieceServer[];
  readonly #mode: TransportReport["mode"];
  readonly #quicParts: QuicParts;
  readonly #tcpParts: TcpParts | undefined;
  readonly #totals = new ChoiceTotals();
  readonly #chooser: TransportChooser;

  constructor(parts: {
    readonly storage: Storage;
    readonly servers: readonly PieceServer[];
    readonly quinn?: (QuinnOffer & { readonly server: PieceServer }) | undefined;
    readonly downloaders: readonly Downloader[];
    /** See `TransportChooser`; default is in the order of `downloaders`. */
    readonly mode?: TransportChooserInit["mode"] | undefined;
    /** What QUIC counts, and knows of paths. */
    readonly quicParts?: QuicParts | undefined;
    /** What TCP counts. */
    readonly tcpParts?: TcpParts | undefined;
    readonly tls: boolean;
    readonly logger?: Logger;
  }) {
    this.storage = parts.storage;
    this.quinn = parts.quinn;
    const quinnServer = parts.quinn?.server;
    this.#servers = [...parts.servers, ...(quinnServer === undefined ? [] : [quinnServer])];
    const { downloaders, mode = "in order", quicParts = {}, logger = SILENT_LOGGER } = parts;
    this.#mode = mode;
    this.#quicParts = quicParts;
    this.#tcpParts = parts.tcpParts;
    this.#chooser = new TransportChooser({
      downloaders,
      mode,
      rttTo: (ip) => {
        const [quic, tcp] = [rttOf(quicParts, ip), parts.tcpParts?.downloader.rttTo(ip)];
        return quic === undefined || tcp === undefined ? (quic ?? tcp) : Math.min(quic, tcp);
      },
      observer: this.#totals,
      logger,
    });
    this.offers = parts.servers.map(({ protocol, address }) => ({
      protocol,
      ports: [address.port],
      tls: parts.tls,
    }));
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { task, pieceNumber, parent, expectedDigest, onBytes } = fetch;
    await using download = await this.#download(fetch);
    const { piece } = download;
    const bounds = task.bounds(pieceNumber);
    if (
      piece.number !== pieceNumber ||
      piece.offset !== bounds.offset ||
      piece.length !== bounds.length
    ) {
      const told = `piece ${piece.number}, ${piece.length} bytes at ${piece.offset}`;
      const wanted = `piece ${pieceNumber}, ${bounds.length} bytes at ${bounds.offset}`;
      throw refusal(parent.hostId, `it announced ${told}, expected ${wanted}`);
    }
    if (piece.digest === "") {
      throw refusal(parent.hostId, `it announced piece ${pieceNumber} without a digest`);
    }
    if (expectedDigest !== undefined && piece.digest !== expectedDigest) {
      throw refusal(
        parent.hostId,
        `it says piece ${pieceNumber} is ${piece.digest}, who read the origin says ${expectedDigest}`,
      );
    }
    const draft = {
      number: pieceNumber,
      digest: piece.digest,
      trafficType: "REMOTE_PEER" as const,
      parentId: parent.hostId,
    };
    const { content } = download;
    return await task.writePiece(
      draft,
      onBytes === undefined ? content : countBytes(content, onBytes),
    );
  }

  async transportReport(): Promise<TransportReport> {
    const { protocols, doubledBytes } = this.#totals;
    return {
      mode: this.#mode,
      offers: this.offers,
      protocols,
      doubledBytes,
      parents: reportParents(this.#chooser.parents),
      quic: reportQuic(this.#quicParts),
      tcp: this.#tcpParts === undefined ? null : reportTcp(this.#tcpParts),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chooser[Symbol.asyncDispose]();
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
    await this.storage[Symbol.asyncDispose]();
  }

  #download({ task, pieceNumber, parent, signal }: PieceFetch): Promise<PieceDownload> {
    const { length: expectedLength } = task.bounds(pieceNumber);
    const request = { taskId: task.facts.taskId, pieceNumber, expectedLength };
    const missingCount = task.pieceCount - task.pieces.size;
    const mayTry = missingCount > TRIAL_TAIL;
    return this.#chooser.downloadPiece(parent, request, { signal, mayTry });
  }
}

function refusal(hostId: string, reason: string): TransportError {
  return new TransportError("ERR_PROTOCOL", `Cannot fetch from ${hostId}: ${reason}`);
}
