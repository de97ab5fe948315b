import type { Claim } from "./room.ts";

/** Room for content of unknown length, promised as it comes: ahead of it as much as has come already, up to 16 MiB. */
export class SpoolRoom {
  readonly #claimRoom: (bytes: number) => Promise<Claim>;
  readonly #count: (bytes: number) => void;
  /** Bytes that have come. */
  #length = 0;
  #promisedLength = 0;
  #claim: Claim | undefined;
  #growing: Promise<void> | undefined;
  #isOver = false;

  constructor(options: {
    /** @throws {NoRoomError} */
    readonly claim: (bytes: number) => Promise<Claim>;
    /** So many more bytes are taken; fewer, if negative. */
    readonly count: (bytes: number) => void;
  }) {
    this.#claimRoom = options.claim;
    this.#count = options.count;
  }

  /**
   * There are so many bytes by now. Returns nothing when there is room for all of them, as for most chunks there is.
   *
   * @throws {NoRoomError}
   */
  reach(length: number): Promise<void> | undefined {
    if (this.#isOver) return undefined;
    if (length > this.#length) {
      this.#count(length - this.#length);
      this.#length = length;
      if (this.#claim !== undefined) this.#claim.bytes = Math.max(0, this.#promisedLength - length);
    }
    if (this.#length <= this.#promisedLength) return undefined;
    this.#growing ??= this.#grow().finally(() => (this.#growing = undefined));
    return this.#growing;
  }

  /** No more of it comes. */
  end(): void {
    this.#isOver = true;
    this.#claim?.release();
  }

  /** It is gone. */
  remove(): void {
    this.end();
    this.#count(-this.#length);
    this.#length = 0;
  }

  async #grow(): Promise<void> {
    while (this.#length > this.#promisedLength && !this.#isOver) {
      const length = this.#length;
      const ahead = Math.min(length, AHEAD_LENGTH_MAX);
      const claim = await this.#claimRoom(ahead);
      this.#claim?.release();
      if (this.#isOver) return claim.release();
      this.#claim = claim;
      this.#promisedLength = length + ahead;
      claim.bytes = Math.max(0, this.#promisedLength - this.#length);
    }
  }
}

const AHEAD_LENGTH_MAX = 16 << 20;
