/** First byte of a long Handshake packet, but for its protected bits; version 1 (RFC 9000, section 17.2.4). */
const HANDSHAKE = 0xe0;
const VERSION = 1;
/** Where a long header has the length of its destination id. */
const LONG_ID_LENGTH_AT = 5;

/** Whether that is what a datagram begins with. */
export function isHandshakePacket(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & 0xf0) === HANDSHAKE;
}

/**
 * Where the packet ends that a datagram begins with, if that is a Handshake packet and others share the datagram with it; else undefined.
 *
 * quiche 0.18 drops all of a datagram whose first packet is of a handshake that is over here, though the peer may not know that yet: what is
 * behind it is to be handed over on its own (RFC 9000, section 12.2). Behind an Initial nothing is cut off: the whole datagram's length counts there.
 */
export function endOfHandshakePacket(datagram: Uint8Array): number | undefined {
  if (!isHandshakePacket(datagram)) return undefined;
  const { buffer, byteOffset, byteLength } = datagram;
  if (byteLength <= LONG_ID_LENGTH_AT) return undefined;
  if (new DataView(buffer, byteOffset, byteLength).getUint32(1) !== VERSION) return undefined;
  const sourceLengthAt = LONG_ID_LENGTH_AT + 1 + (datagram[LONG_ID_LENGTH_AT] ?? 0);
  const lengthAt = sourceLengthAt + 1 + (datagram[sourceLengthAt] ?? 0);
  const first = datagram[lengthAt];
  if (first === undefined) return undefined;
  const width = 1 << (first >> 6);
  let length = first & 0x3f;
  for (let index = 1; index < width; index++)
    length = length * 256 + (datagram[lengthAt + index] ?? 0);
  const end = lengthAt + width + length;
  return end < byteLength ? end : undefined;
}
