import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReadRing } from "./read-ring.ts";

describe("ReadRing", () => {
  it("gives back what was put in, in order, and leaves alone what is lent", () => {
    const steps = fc.array(
      fc.record({ take: fc.boolean(), length: fc.integer({ min: 1, max: 40 }) }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), steps, (length, actions) => {
        const ring = new ReadRing(new Uint8Array(length));
        let written = 0;
        let read = 0;
        let lent: Uint8Array = new Uint8Array();
        let copy: Uint8Array = new Uint8Array();
        let room = ring.room(Infinity);
        for (const { take, length: wanted } of actions) {
          expect(lent).toEqual(copy);
          if (take) {
            lent = ring.take();
            copy = lent.slice();
            for (const byte of lent) expect(byte).toBe(read++ % 251);
          } else {
            // The room that was given out last is still good, whatever has been taken since.
            const count = Math.min(wanted, room.byteLength);
            for (let index = 0; index < count; index++) room[index] = written++ % 251;
            ring.commit(count);
            room = ring.room(wanted);
            expect(room.byteLength).toBeLessThanOrEqual(Math.min(wanted, ring.freeLength));
          }
          expect(ring.unreadLength).toBe(written - read);
          expect(ring.freeLength).toBe(length - ring.unreadLength - lent.byteLength);
        }
      }),
    );
  });

  it("has room again for all it can hold, in one row, once nothing is left in it", () => {
    const ring = new ReadRing(new Uint8Array(10));
    expect(ring.room(7).byteLength).toBe(7);
    ring.commit(7);
    expect(ring.room(10).byteLength).toBe(3);
    expect(ring.take().byteLength).toBe(7);
    expect(ring.take().byteLength).toBe(0);
    expect(ring.room(10).byteLength).toBe(10);
  });
});
