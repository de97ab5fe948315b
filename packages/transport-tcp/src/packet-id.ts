/** Chosen at random by the sender of a packet, and looked at by nobody. */
export function createPacketId(): number {
  return Math.floor(Math.random() * 256);
}
