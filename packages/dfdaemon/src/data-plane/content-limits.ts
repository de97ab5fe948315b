import { ByteBudget, type Clock, limitContent, RateLimit, SYSTEM_CLOCK } from "@damselfly/limits";
import type { Origin } from "../origins/origin.ts";

/** How much content may be in memory, in bytes, and how fast it may go, in bytes a second; Infinity: as fast as it will. Plain data. */
export interface ContentLimitsInit {
  readonly memoryLimit: number;
  /** To children. */
  readonly uploadRate: number;
  /** From parents. */
  readonly downloadRate: number;
  /** From origins. */
  readonly originRate: number;
}

/** Rates, which can be set while content moves; or what has moved at each, in bytes. */
export type ContentRates = Omit<ContentLimitsInit, "memoryLimit">;

const KIB = 1024;
const MIB = 1024 * KIB;

// Of the memory, who gets which part. The rest is that of contents on their way to programs on this node.
/** To children. */
const SERVING_SHARE = 3 / 8;
/** From parents and origins. */
const RECEIVING_SHARE = 1 / 4;
/** Ranges that QUIC asks for before it is their turn, for each of its two backends. */
const LOOK_AHEAD_SHARE = 1 / 16;
/** To programs on this node, in the control process. */
export const LOCAL_SHARE: number = 1 / 4;

/** What storage collects of a piece before it writes: two buffers of 1 MiB. */
const WRITING_LENGTH = 2 * MIB;
/** What a transport may hold of a piece that has come and was not read: the longest window there is. */
const WINDOW_LENGTH_MAX = 8 * MIB;
/** The same of an origin's body: two reads of 128 KiB. */
const BODY_LENGTH = 256 * KIB;

/** What has not been opened after this takes no memory, and others need not wait for it. Milliseconds. */
const PATIENCE_MS = 1_000;

/** No rates, and memory for a few dozen pieces each way. */
export const DEFAULT_CONTENT_LIMITS: ContentLimitsInit = {
  memoryLimit: 512 * MIB,
  uploadRate: Infinity,
  downloadRate: Infinity,
  originRate: Infinity,
};

/** What is opened elsewhere: a piece of a parent, a body of an origin. */
interface Opened extends AsyncDisposable {
  readonly content: AsyncIterable<Uint8Array>;
}

/** The same, within limits. Dispose it instead. */
export interface Incoming<Kind extends Opened> extends Opened {
  readonly opened: Kind;
}

/** What moving content may take of one process: an object for each, handed to whoever moves some. */
export class ContentLimits {
  readonly upload: RateLimit;
  /** Of pieces being served. */
  readonly serving: ByteBudget;
  /** How many bytes those may take. */
  readonly servingLengthMax: number;
  readonly clock: Clock;
  /** Bytes that each QUIC backend may have asked for and not taken. */
  readonly quicBytesInFlightMax: number;
  readonly #download: RateLimit;
  readonly #origin: RateLimit;
  readonly #receiving: ByteBudget;

  constructor(init: ContentLimitsInit, clock: Clock = SYSTEM_CLOCK) {
    const { memoryLimit } = init;
    this.upload = new RateLimit(init.uploadRate, clock);
    this.#download = new RateLimit(init.downloadRate, clock);
    this.#origin = new RateLimit(init.originRate, clock);
    this.clock = clock;
    const receivingLength = memoryLimit * RECEIVING_SHARE;
    this.servingLengthMax = memoryLimit * SERVING_SHARE;
    this.serving = new ByteBudget(this.servingLengthMax);
    this.#receiving = new ByteBudget(receivingLength);
    // What is received has room already: QUIC is not to make it wait once more.
    this.quicBytesInFlightMax = Math.floor(receivingLength + memoryLimit * LOOK_AHEAD_SHARE);
  }

  /** Bytes that have moved at each rate so far. */
  get moved(): ContentRates {
    return {
      uploadRate: this.upload.movedLength,
      downloadRate: this.#download.movedLength,
      originRate: this.#origin.movedLength,
    };
  }

  setRates({ uploadRate, downloadRate, originRate }: ContentRates): void {
    this.upload.setRate(uploadRate);
    this.#download.setRate(downloadRate);
    this.#origin.setRate(originRate);
  }

  /**
   * Opens a piece of a parent when there is memory for it; its content comes no faster than it may.
   *
   * @param length of the piece, in bytes
   * @throws the signal's reason, what `open` throws
   */
  async openPiece<Piece extends Opened>(
    length: number,
    signal: AbortSignal,
    open: () => Promise<Piece>,
  ): Promise<Incoming<Piece>> {
    const roomLength = WRITING_LENGTH + Math.min(length, WINDOW_LENGTH_MAX);
    return await this.#open(roomLength, signal, this.#download, open);
  }

  /** The same for a body of an origin. */
  async openBody<Body extends Opened>(
    signal: AbortSignal,
    open: () => Promise<Body>,
  ): Promise<Incoming<Body>> {
    return await this.#open(WRITING_LENGTH + BODY_LENGTH, signal, this.#origin, open);
  }

  /** An origin whose ranges come no faster than origins may, for pieces that have room already. */
  limitOrigin(origin: Pick<Origin, "readRange">): Pick<Origin, "readRange"> {
    return {
      readRange: async (request, range, expected, options) => {
        const body = await origin.readRange(request, range, expected, options);
        return {
          stat: body.stat,
          content: limitContent(body.content, this.#origin, options),
          [Symbol.asyncDispose]: () => body[Symbol.asyncDispose](),
        };
      },
    };
  }

  async #open<Kind extends Opened>(
    length: number,
    signal: AbortSignal,
    rate: RateLimit,
    open: () => Promise<Kind>,
  ): Promise<Incoming<Kind>> {
    const room = await this.#receiving.reserve(length, signal);
    // A parent may be waiting for the piece itself, for minutes. Nothing comes meanwhile, and others may have the room.
    const stop = this.clock.after(PATIENCE_MS, () => room.resize(0));
    try {
      const opened = await open();
      stop();
      room.resize(length);
      return {
        opened,
        content: limitContent(opened.content, rate, { signal }),
        async [Symbol.asyncDispose]() {
          room.release();
          await opened[Symbol.asyncDispose]();
        },
      };
    } catch (error) {
      stop();
      room.release();
      throw error;
    }
  }
}
