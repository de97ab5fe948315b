/** Of a server's first flight: beyond it comes what a peer can do without for a while. */
const KEPT_COUNT_MAX = 3;
/** Datagrams by which a server knows that a client repeats itself. */
const HEARD_COUNT_MAX = 8;
/** At the end of a datagram is an authentication tag, and no two are alike (RFC 9001, section 5.3). */
const TAG_LENGTH = 16;
/** RFC 9000, section 8.1. */
const AMPLIFICATION_MAX = 3;

/**
 * The datagrams of a handshake that are sent again, as they were, when the other side seems not to have them: a client's by the clock, a
 * server's when it hears again what it has heard. The binding repeats them only a second later, then two, then four, since it knows nothing
 * of the path yet; and not at all where all of a client's packets have been acknowledged but its early data, for which it sets no timer
 * before the handshake is over, while the server has sent as much as it may to an address that it does not know. A client is to go on
 * sending then (RFC 9002, section 6.2.2.1). Whoever has had a packet drops it.
 */
export class HandshakeRepeats {
  readonly #isDialler: boolean;
  readonly #heard = new Set<string>();
  #kept: Uint8Array[] = [];
  #isDue = false;
  #receivedLength = 0;
  #sentLength = 0;
  #hasRepeated = false;

  constructor(isDialler: boolean) {
    this.#isDialler = isDialler;
  }

  /** Bytes that may be sent. The binding knows nothing of the repeats, which count as well: a server is no amplifier. */
  get room(): number {
    if (this.#isDialler || !this.#hasRepeated) return Number.POSITIVE_INFINITY;
    return AMPLIFICATION_MAX * this.#receivedLength - this.#sentLength;
  }

  /** To be called with each datagram from the address that is answered, before it is decrypted. */
  onReceived(datagram: Uint8Array): void {
    this.#receivedLength += datagram.byteLength;
    if (this.#isDialler || !isInitial(datagram)) return;
    const tag = Buffer.from(datagram.subarray(-TAG_LENGTH)).toString("latin1");
    if (this.#heard.has(tag)) this.repeat();
    else if (this.#heard.size < HEARD_COUNT_MAX) this.#heard.add(tag);
  }

  /** To be called with each datagram that the binding gives. Copies what is kept of it. */
  onSent(datagram: Uint8Array): void {
    this.#sentLength += datagram.byteLength;
    if (this.#isDialler) {
      if (isInitial(datagram)) this.#kept = [datagram.slice()];
    } else if (isLong(datagram) && this.#kept.length < KEPT_COUNT_MAX) {
      this.#kept.push(datagram.slice());
    }
  }

  repeat(): void {
    this.#isDue = true;
  }

  /** What is to be sent again now. */
  takeDue(): readonly Uint8Array[] {
    if (!this.#isDue) return [];
    this.#isDue = false;
    this.#hasRepeated = true;
    return this.#kept.filter(({ byteLength }) => {
      if (byteLength > this.room) return false;
      this.#sentLength += byteLength;
      return true;
    });
  }
}

// Form and type of a long header are in the clear (RFC 9000, section 17.2).

function isLong(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & 0x80) !== 0;
}

function isInitial(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & 0xf0) === 0xc0;
}
