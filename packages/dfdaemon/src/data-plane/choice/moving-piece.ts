import {
  type ByteRange,
  type PieceDownload,
  type PieceInfo,
  type Protocol,
  TransportError,
} from "@damselfly/transport";
import type { Progress } from "../relay/progress.ts";
import {
  type Leg as RelayLeg,
  type LegEnd as RelayLegEnd,
  RelayedContent,
} from "../relay/relayed-content.ts";
import { isSamePiece } from "../relay/same-piece.ts";
import type { Move } from "./judge-run.ts";

/** A piece that crawls everywhere is not helped by one more request. */
const MOVE_COUNT_MAX = 3;

/** A piece as it comes over one protocol, or the rest of one. */
export type Leg = RelayLeg<Protocol>;

export interface LegEnd extends Omit<RelayLegEnd<Protocol>, "source"> {
  readonly protocol: Protocol;
}

export interface MovingPieceInit {
  readonly first: Leg;
  /** What is wanted of the piece. */
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** Asks for the rest of the piece over another protocol. Resolves when it is announced. */
  readonly ask: (protocol: Protocol, range: ByteRange, signal: AbortSignal) => Promise<Leg>;
  /** Looked at while it runs: where else the rest should be asked for. */
  readonly judge: (piece: MovingPiece) => Move | undefined;
  /** Where the rest may be had after a failure; undefined: nowhere, and the failure is the piece's. */
  readonly rescue: (piece: MovingPiece, error: unknown) => Protocol | undefined;
  /** The rest has been asked for elsewhere. */
  readonly onMove: (move: Move, piece: MovingPiece) => void;
  readonly onLegEnd: (end: LegEnd, piece: MovingPiece) => void;
  /** Bytes came a second time, over another protocol. */
  readonly onDoubled: (length: number) => void;
  /** Nothing runs any more. */
  readonly onEnd: () => void;
}

/**
 * A piece of one parent whose content may come over several protocols, one after the other: where one crawls or breaks off, the rest is
 * asked for over another.
 */
export class MovingPiece implements PieceDownload {
  readonly piece: PieceInfo;
  readonly content: AsyncIterable<Uint8Array>;
  readonly #init: MovingPieceInit;
  readonly #relay: RelayedContent<Protocol>;
  #protocol: Protocol;
  /** Protocols that failed with this piece. */
  readonly #spent = new Set<Protocol>();
  #moveCount = 0;

  constructor(init: MovingPieceInit) {
    this.#init = init;
    this.piece = init.first.download.piece;
    this.#protocol = init.first.source;
    this.#relay = new RelayedContent<Protocol>({
      pieceNumber: this.piece.number,
      range: init.range,
      signal: init.signal,
      now: init.now,
      ask: (protocol, range, signal) => this.#ask(protocol, range, signal),
      failed: (protocol, error, { isCurrent }) => {
        this.#spent.add(protocol);
        // One that was asked in vain changes nothing: the other goes on.
        return isCurrent && !this.#relay.isAsking ? init.rescue(this, error) : undefined;
      },
      look: () => this.#look(),
      tookOver: ({ source }) => {
        this.#protocol = source;
      },
      legEnded: ({ source: protocol, ...end }) => init.onLegEnd({ protocol, ...end }, this),
      doubled: init.onDoubled,
      ended: init.onEnd,
    });
    this.content = this.#relay;
    this.#relay.begin(init.first);
  }

  get protocol(): Protocol {
    return this.#protocol;
  }

  get progress(): Progress {
    return this.#relay.progress;
  }

  get remaining(): number {
    return this.#relay.remaining;
  }

  /** Protocols that need not be asked again for this piece. */
  get spent(): ReadonlySet<Protocol> {
    return this.#spent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }

  #look(): void {
    if (this.#relay.isAsking || this.#moveCount >= MOVE_COUNT_MAX) return;
    const move = this.#init.judge(this);
    if (move === undefined) return;
    this.#moveCount += 1;
    this.#init.onMove(move, this);
    this.#relay.ask(move.to);
  }

  async #ask(protocol: Protocol, range: ByteRange, signal: AbortSignal): Promise<Leg> {
    const leg = await this.#init.ask(protocol, range, signal);
    if (isSamePiece(leg.download.piece, this.piece)) return leg;
    await leg.download[Symbol.asyncDispose]();
    const { number } = this.piece;
    throw new TransportError(
      "ERR_PROTOCOL",
      `Cannot go on with piece ${number} over ${protocol}: there it is announced as another one`,
    );
  }
}
