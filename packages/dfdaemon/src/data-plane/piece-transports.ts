import type {
  Downloader,
  ParentAddress,
  PieceDownload,
  PieceRequest,
  PieceServer,
} from "@damselfly/transport";
import { SILENT_LOGGER, type Logger } from "../logger.ts";
import { ChoiceTotals } from "./choice/choice-totals.ts";
import { TransportChooser, type TransportChooserInit } from "./choice/transport-chooser.ts";
import type { TransportOffer } from "./data-plane.ts";
import type { QuicParts } from "./open-quic.ts";
import { reportQuic, rttOf } from "./quic-report.ts";
import { reportTcp, type TcpParts } from "./tcp-report.ts";
import { reportParents, type TransportReport } from "./transport-report.ts";

export interface PieceTransportsInit {
  readonly servers: readonly PieceServer[];
  /** Offered apart from the others. */
  readonly quinnServer?: PieceServer | undefined;
  readonly downloaders: readonly Downloader[];
  /** See `TransportChooser`; default is in the order of `downloaders`. */
  readonly mode?: TransportChooserInit["mode"] | undefined;
  /** What QUIC counts, and knows of paths. */
  readonly quicParts?: QuicParts | undefined;
  /** What TCP counts. */
  readonly tcpParts?: TcpParts | undefined;
  readonly tls: boolean;
  readonly logger?: Logger | undefined;
}

/** The piece servers and downloaders of one process, and the choice between the latter. Owns them. */
export class PieceTransports implements AsyncDisposable {
  readonly offers: readonly TransportOffer[];
  /** Of the second QUIC backend; undefined where that is off. */
  readonly quinnPort: number | undefined;
  readonly #servers: readonly PieceServer[];
  readonly #mode: TransportReport["mode"];
  readonly #quicParts: QuicParts;
  readonly #tcpParts: TcpParts | undefined;
  readonly #totals = new ChoiceTotals();
  readonly #chooser: TransportChooser;

  constructor(init: PieceTransportsInit) {
    const { downloaders, mode = "in order", quicParts = {}, logger = SILENT_LOGGER } = init;
    const { quinnServer } = init;
    this.quinnPort = quinnServer?.address.port;
    this.#servers = [...init.servers, ...(quinnServer === undefined ? [] : [quinnServer])];
    this.#mode = mode;
    this.#quicParts = quicParts;
    this.#tcpParts = init.tcpParts;
    this.#chooser = new TransportChooser({
      downloaders,
      mode,
      rttTo: (ip) => {
        const [quic, tcp] = [rttOf(quicParts, ip), init.tcpParts?.downloader.rttTo(ip)];
        return quic === undefined || tcp === undefined ? (quic ?? tcp) : Math.min(quic, tcp);
      },
      observer: this.#totals,
      logger,
    });
    this.offers = init.servers.map(({ protocol, address }) => ({
      protocol,
      ports: [address.port],
      tls: init.tls,
    }));
  }

  /**
   * As `Downloader.downloadPiece`, over the protocol that is best to this parent.
   *
   * @param options.mayTry other protocols may be tried out with this piece
   */
  downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal: AbortSignal; readonly mayTry: boolean },
  ): Promise<PieceDownload> {
    return this.#chooser.downloadPiece(parent, request, options);
  }

  report(): TransportReport {
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

  /** Closes the servers: pieces that are being served may finish, within the servers' bounds. Idempotent. */
  async drain(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chooser[Symbol.asyncDispose]();
    await this.drain();
  }
}
