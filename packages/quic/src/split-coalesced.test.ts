import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toKey } from "./packet-header.ts";
import { CoalescedSplitter } from "./split-coalesced.ts";
import { longPacket, shortPacket } from "./testing/short-packet.ts";

const IDS = [randomBytes(16), randomBytes(16), randomBytes(16)] as const;
const KEYS: ReadonlySet<string> = new Set(IDS.map(toKey));
const [ID, OTHER] = IDS;

function createSplitter(): CoalescedSplitter {
  return new CoalescedSplitter((key) => KEYS.has(key));
}

function lengthsOf(splitter: CoalescedSplitter, message: Buffer, port = 1): number[] {
  const parts: Buffer[] = [];
  splitter.split(message, port, (part) => void parts.push(part));
  expect(Buffer.concat(parts).equals(message)).toBe(true);
  return parts.map((part) => part.byteLength);
}

function split(...packets: Buffer[]): number[] {
  return lengthsOf(createSplitter(), Buffer.concat(packets));
}

describe("CoalescedSplitter", () => {
  it("finds any datagrams of one connection", () => {
    const splitter = createSplitter();
    const messages = fc.record({
      length: fc.integer({ min: 17, max: 1500 }),
      count: fc.integer({ min: 1, max: 40 }),
      last: fc.integer({ min: 1, max: 1500 }),
      port: fc.integer({ min: 1, max: 2 }),
    });
    fc.assert(
      fc.property(messages, ({ length, count, last, port }) => {
        // Cut below an id, a last datagram looks like no packet: it is found all the same if two came before it.
        const lastLength = Math.max(Math.min(last, length), count === 1 ? 17 : 1);
        const packets = Array.from({ length: count }, (_, index) => shortPacket(ID, length, index));
        packets.push(shortPacket(ID, lastLength));
        const expected = packets.map((packet) => packet.byteLength);
        expect(lengthsOf(splitter, Buffer.concat(packets), port)).toEqual(expected);
      }),
    );
  });

  it("finds datagrams of several connections of one peer", () => {
    const order = fc.array(fc.constantFrom(...IDS), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(order, fc.integer({ min: 1200, max: 1500 }), (ids, length) => {
        const splitter = createSplitter();
        lengthsOf(splitter, Buffer.concat([ID, ID].map((id) => shortPacket(id, length))));
        const message = Buffer.concat(ids.map((id) => shortPacket(id, length)));
        expect(lengthsOf(splitter, message)).toEqual(ids.map(() => length));
      }),
    );
  });

  it("is not taken in by connections that alternate, even at first", () => {
    const splitter = createSplitter();
    const alternating = [ID, OTHER, ID, OTHER].map((id) => shortPacket(id, 1350));
    expect(lengthsOf(splitter, Buffer.concat(alternating))).toEqual([1350, 1350, 1350, 1350]);
    const alone = [ID, ID, ID, ID].map((id) => shortPacket(id, 1350));
    expect(lengthsOf(splitter, Buffer.concat(alone))).toEqual([1350, 1350, 1350, 1350]);
  });

  it("leaves a single datagram whole", () => {
    expect(split(shortPacket(ID, 1350))).toEqual([1350]);
    expect(split(longPacket(ID, 1200, 0))).toEqual([1200]);
    expect(split(Buffer.alloc(0))).toEqual([0]);
    expect(split(Buffer.of(0xc0, 0, 0))).toEqual([3]);
  });

  it("does not cut where an id stands without a packet", () => {
    const packet = shortPacket(ID, 1350);
    packet[499] = 0;
    packet.set(ID, 500);
    expect(split(packet)).toEqual([1350]);
    const long = longPacket(ID, 1200, 2);
    long.set(ID, 500);
    expect(split(long)).toEqual([1200]);
  });

  it("cuts a handshake, and what comes right behind it", () => {
    expect(
      split(
        longPacket(ID, 1200, 2),
        longPacket(ID, 1200, 2),
        shortPacket(ID, 1200),
        shortPacket(ID, 300),
      ),
    ).toEqual([1200, 1200, 1200, 300]);
  });

  it("leaves an Initial and what shares its datagram together", () => {
    const initial = longPacket(ID, 300, 0);
    expect(split(initial, longPacket(ID, 900, 2), shortPacket(ID, 1000))).toEqual([1200, 1000]);
  });

  it("cuts between the first packets of two connections", () => {
    const [one, other] = [randomBytes(8), randomBytes(20)];
    expect(split(longPacket(one, 1200, 0), longPacket(other, 1200, 0))).toEqual([1200, 1200]);
    expect(split(longPacket(one, 1350, 0), longPacket(one, 1350, 0))).toEqual([1350, 1350]);
  });

  it("returns every byte of anything once, in order, and soon", () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom(...IDS, Buffer.of(0x40), Buffer.of(0xc0, 0, 0, 0, 1, 8), Buffer.alloc(2000)),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 60 }), (parts) => {
        lengthsOf(createSplitter(), Buffer.concat(parts));
      }),
    );
  });
});
