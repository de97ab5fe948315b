import { randomInt } from "node:crypto";

/** Chosen at random by the sender of a packet, and looked at by nobody. */
export function createPacketId(): number {
  return randomInt(256);
}
