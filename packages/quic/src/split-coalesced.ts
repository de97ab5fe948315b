import { CONNECTION_ID_LENGTH } from "./packet-header.ts";

/** Where a short header has its destination id. */
const SHORT_ID_AT = 1;
/** Where a long header has its destination id, after the id's length (RFC 9000, section 17.2). */
const LONG_ID_AT = 6;
/** Every datagram with an Initial packet is at least this long (RFC 9000, section 14.1), and mostly just that. */
const INITIAL_LENGTH = 1200;
/** Shorter ids, which only strangers make up, turn up by chance. */
const ID_LENGTH_MIN = 8;
const ID_LENGTH_MAX = 20;
/** The most datagrams that a kernel hands over as one (Linux: 64). */
const DATAGRAM_COUNT_MAX = 64;
/** Places where the id was found without a packet around it, after which the rest is left as it is. */
const MISS_COUNT_MAX = 64;

/**
 * Cuts what UDP GRO has put together back into datagrams. Node does not show the length that the kernel tells
 * along with them, so it is found again: all datagrams in one message came from one address and are of one length
 * (the last may be shorter), and each begins with a packet to a connection of ours. The length is where the first
 * packet's destination id turns up again behind what a packet begins with; 16 random bytes are nowhere by chance.
 *
 * Packets to different connections can be in one message, so a length that is a multiple of the true one may come
 * up first: its fractions are tried too. And long packets can share a datagram: cutting between them is harmless,
 * but for those behind an Initial, as the whole datagram's length counts there.
 */
export class CoalescedSplitter {
  readonly #isOwnId: (key: string) => boolean;
  /** By the peer's port: the length of its datagrams the last time. Only a guess, so a port shared does no harm. */
  readonly #guesses = new Map<number, number>();

  /** @param isOwnId whether this is the id of a connection here, as `toKey` makes it */
  constructor(isOwnId: (key: string) => boolean) {
    this.#isOwnId = isOwnId;
  }

  /** Hands out views of `message`, in order, each before what follows it is looked at. */
  split(message: Buffer, port: number, onDatagram: (datagram: Buffer) => void): void {
    let rest = message;
    for (;;) {
      if (((rest[0] ?? 0) & 0x80) === 0) {
        this.#splitShort(rest, port, onDatagram);
        return;
      }
      const cut = findLongEnd(rest);
      if (cut === undefined) {
        onDatagram(rest);
        return;
      }
      onDatagram(rest.subarray(0, cut));
      rest = rest.subarray(cut);
    }
  }

  /** A short packet ends its datagram: from here on every one is as long as the first. */
  #splitShort(message: Buffer, port: number, onDatagram: (datagram: Buffer) => void): void {
    const length = this.#datagramLength(message, port);
    if (length === undefined || length * DATAGRAM_COUNT_MAX < message.byteLength) {
      onDatagram(message);
      return;
    }
    for (let offset = 0; offset < message.byteLength; offset += length) {
      onDatagram(message.subarray(offset, offset + length));
    }
  }

  #datagramLength(message: Buffer, port: number): number | undefined {
    const guess = this.#guesses.get(port);
    const isGood = guess !== undefined && this.#isShortStart(message, guess);
    const found = isGood ? guess : findShortEnd(message);
    if (found === undefined) return undefined;
    let length = found;
    for (let count = DATAGRAM_COUNT_MAX; count > 1; count--) {
      const fraction = found / count;
      if (Number.isInteger(fraction) && this.#isShortStart(message, fraction)) {
        length = fraction;
        break;
      }
    }
    if (length !== guess) this.#guesses.set(port, length);
    return length;
  }

  #isShortStart(message: Buffer, at: number): boolean {
    const idAt = at + SHORT_ID_AT;
    const idEnd = idAt + CONNECTION_ID_LENGTH;
    if (idEnd > message.byteLength || !isShortByte(message[at])) return false;
    return this.#isOwnId(message.toString("latin1", idAt, idEnd));
  }
}

/** Where the first packet's id stands again behind the first byte of a short packet. */
function findShortEnd(message: Buffer): number | undefined {
  const idEnd = SHORT_ID_AT + CONNECTION_ID_LENGTH;
  const id = message.subarray(SHORT_ID_AT, idEnd);
  let at = message.indexOf(id, idEnd + 1);
  for (let misses = 0; at !== -1 && misses < MISS_COUNT_MAX; misses++) {
    if (isShortByte(message[at - SHORT_ID_AT])) return at - SHORT_ID_AT;
    at = message.indexOf(id, at + 1);
  }
  return undefined;
}

/** Where another packet begins that a long packet's datagram does not reach over, or need not. */
function findLongEnd(message: Buffer): number | undefined {
  const idLength = longIdLength(message, 0);
  if (idLength === undefined) return undefined;
  const isInitial = ((message[0] ?? 0) & 0x30) === 0;
  // A second client behind the same address has made up another id.
  if (isInitial && longIdLength(message, INITIAL_LENGTH) !== undefined) return INITIAL_LENGTH;
  const lengthMin = isInitial ? INITIAL_LENGTH : LONG_ID_AT + idLength;
  const id = message.subarray(LONG_ID_AT, LONG_ID_AT + idLength);
  let at = message.indexOf(id, lengthMin + SHORT_ID_AT);
  for (let misses = 0; at !== -1 && misses < MISS_COUNT_MAX; misses++) {
    const longAt = at - LONG_ID_AT;
    if (longAt >= lengthMin && longIdLength(message, longAt) === idLength) return longAt;
    if (idLength === CONNECTION_ID_LENGTH && isShortByte(message[at - SHORT_ID_AT])) {
      return at - SHORT_ID_AT;
    }
    at = message.indexOf(id, at + 1);
  }
  return undefined;
}

/** The first byte of every short packet, but for its protected bits. */
function isShortByte(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x40;
}

/** The length of the destination id if a long packet of version 1 begins here. */
function longIdLength(message: Buffer, at: number): number | undefined {
  if (at + LONG_ID_AT > message.byteLength) return undefined;
  if (((message[at] ?? 0) & 0xc0) !== 0xc0 || message.readUInt32BE(at + 1) !== 1) return undefined;
  const length = message[at + LONG_ID_AT - 1] ?? 0;
  return length < ID_LENGTH_MIN || length > ID_LENGTH_MAX ? undefined : length;
}
