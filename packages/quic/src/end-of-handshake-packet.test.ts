import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endOfHandshakePacket } from "./end-of-handshake-packet.ts";
import { handshakePacket, longPacket, shortPacket } from "./testing/short-packet.ts";

const ID = randomBytes(16);

describe("endOfHandshakePacket", () => {
  it("finds where another packet begins", () => {
    for (const length of [20, 63, 64, 1000]) {
      const packet = handshakePacket(ID, length);
      const datagram = Buffer.concat([packet, shortPacket(ID, 40)]);
      expect(endOfHandshakePacket(datagram)).toBe(packet.byteLength);
    }
  });

  it("leaves a datagram whole that is one packet, or begins with another kind", () => {
    const rest = shortPacket(ID, 40);
    expect(endOfHandshakePacket(handshakePacket(ID, 100))).toBeUndefined();
    expect(endOfHandshakePacket(rest)).toBeUndefined();
    for (const type of [0, 1, 3] as const)
      expect(endOfHandshakePacket(Buffer.concat([longPacket(ID, 60, type), rest]))).toBeUndefined();
    const other = Buffer.concat([handshakePacket(ID, 60), rest]);
    other.writeUInt32BE(2, 1);
    expect(endOfHandshakePacket(other)).toBeUndefined();
  });

  it("cuts nothing outside of any datagram, and never nothing off", () => {
    const begun = fc
      .uint8Array({ maxLength: 60 })
      .map((rest) => Buffer.from([0xe0, 0, 0, 0, 1, ...rest]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), begun), (datagram) => {
        const end = endOfHandshakePacket(datagram);
        if (end !== undefined) expect(end > 0 && end < datagram.byteLength).toBe(true);
      }),
    );
  });
});
