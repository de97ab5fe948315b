/** What passes for a short packet to connection `id`: its first byte, its id, and `length` bytes in all. */
export function shortPacket(id: Uint8Array, length: number, fill = 0): Buffer {
  const packet = Buffer.alloc(length, fill);
  packet[0] = 0x40;
  packet.set(id.subarray(0, length - 1), 1);
  return packet;
}

/** What passes for a long packet of version 1 to connection `id`; `type` 0 is an Initial. */
export function longPacket(id: Uint8Array, length: number, type: 0 | 1 | 2 | 3): Buffer {
  const packet = Buffer.alloc(length, type);
  packet.set([0xc0 | (type << 4), 0, 0, 0, 1, id.byteLength, ...id]);
  return packet;
}

/** What passes for a Handshake packet to connection `id`, with `length` bytes behind its header, 16,383 at most. */
export function handshakePacket(id: Uint8Array, length: number): Buffer {
  const lengthField = Buffer.of(0x40 | (length >> 8), length);
  const head = Buffer.of(0xe0, 0, 0, 0, 1, id.byteLength, ...id, 0);
  return Buffer.concat([head, lengthField, Buffer.alloc(length, 7)]);
}
