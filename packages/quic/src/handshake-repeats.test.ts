import { describe, expect, it } from "vitest";
import { HandshakeRepeats } from "./handshake-repeats.ts";

/** As bytes on the wire: what is inside is nobody's business here. */
function datagram(kind: "initial" | "handshake" | "short", content: number, length = 1200): Buffer {
  const bytes = Buffer.alloc(length, content);
  bytes[0] = { initial: 0xc3, handshake: 0xe3, short: 0x43 }[kind];
  return bytes;
}

describe("HandshakeRepeats", () => {
  it("has a client repeat the last of its Initial packets, and nothing else", () => {
    const repeats = new HandshakeRepeats({ isDialler: true, isProven: false });
    for (const [kind, content] of [
      ["initial", 1],
      ["initial", 2],
      ["handshake", 3],
      ["short", 4],
    ] as const) {
      repeats.onSent(datagram(kind, content));
    }
    expect(repeats.takeDue()).toEqual([]);
    repeats.repeat();
    expect(repeats.takeDue()).toEqual([datagram("initial", 2)]);
    expect(repeats.takeDue()).toEqual([]);
    expect(repeats.room).toBe(Number.POSITIVE_INFINITY);
  });

  it("has a server repeat its flight when it hears what it has heard, as it was", () => {
    const repeats = new HandshakeRepeats({ isDialler: false, isProven: false });
    repeats.onReceived(datagram("initial", 1));
    const flight = [datagram("initial", 2), datagram("handshake", 3)];
    for (const one of flight) repeats.onSent(one);
    repeats.onSent(datagram("short", 4, 50));
    repeats.onReceived(datagram("initial", 5));
    expect(repeats.takeDue()).toEqual([]);
    const again = datagram("initial", 1);
    repeats.onReceived(again);
    again.fill(0); // it is decrypted in place
    expect(repeats.takeDue()).toEqual(flight);
  });

  it("counts what a server sends, and sends again, towards the three times that it may", () => {
    const repeats = new HandshakeRepeats({ isDialler: false, isProven: false });
    repeats.onReceived(datagram("initial", 1));
    for (const content of [2, 3, 4]) repeats.onSent(datagram("handshake", content));
    expect(repeats.room).toBe(0);
    repeats.onReceived(datagram("initial", 1, 600));
    expect(repeats.takeDue()).toEqual([datagram("handshake", 2)]);
    expect(repeats.room).toBe(600);
    repeats.onReceived(datagram("initial", 1, 30));
    expect(repeats.takeDue()).toEqual([]);
    expect(repeats.room).toBe(690);
  });

  it("bounds nothing that goes to an address that is proven", () => {
    const proven = new HandshakeRepeats({ isDialler: false, isProven: true });
    expect(proven.room).toBe(Number.POSITIVE_INFINITY);
    const repeats = new HandshakeRepeats({ isDialler: false, isProven: false });
    repeats.onReceived(datagram("initial", 1));
    expect(repeats.takeRoom(3601)).toBe(false);
    expect(repeats.takeRoom(3600)).toBe(true);
    expect(repeats.takeRoom(1)).toBe(false);
    repeats.onProven();
    expect(repeats.takeRoom(1)).toBe(true);
  });
});
