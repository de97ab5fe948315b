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
 *
 * Here is counted, too, what may be sent to an address that is not proven. The binding counts as well, but knows nothing of what is
 * repeated, and forgets the padding of Initial datagrams.
 */
export class HandshakeRepeats {
  readonly #isDialler: boolean;
  readonly #heard = new Set<string>();
  #kept: Uint8Array[] = [];
  #isDue = false;
  #receivedLength = 0;
  #sentLength = 0;
  #isProven: boolean;

  /** @param init.isProven whether the peer has shown that it is at its address; who is dialled has not asked */
  constructor(init: { readonly isDialler: boolean; readonly isProven: boolean }) {
    this.#isDialler = init.isDialler;
    this.#isProven = init.isDialler || init.isProven;
  }

  /** Whether the peer has shown that what is sent to its address reaches it. */
  get isProven(): boolean {
    return this.#isProven;
  }

  /** Bytes that may be sent now: a server is no amplifier. */
  get room(): number {
    if (this.#isProven) return Number.POSITIVE_INFINITY;
    return AMPLIFICATION_MAX * this.#receivedLength - this.#sentLength;
  }

  /** A packet has come that only who was sent the keys for it can have made. */
  onProven(): void {
    this.#isProven = true;
  }

  /** Whether so many bytes may be sent that the binding knows nothing of; they count as sent then. */
  takeRoom(length: number): boolean {
    if (length > this.room) return false;
    this.#sentLength += length;
    return true;
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
    return this.#kept.filter(({ byteLength }) => this.takeRoom(byteLength));
  }
}

// Form and type of a long header are in the clear (RFC 9000, section 17.2).

function isLong(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & 0x80) !== 0;
}

function isInitial(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & 0xf0) === 0xc0;
}
