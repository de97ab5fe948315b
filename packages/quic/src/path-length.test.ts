import { describe, expect, it } from "vitest";
import { encodeProbe } from "./length-probe.ts";
import { type LengthCarrier, PathLength } from "./path-length.ts";

const LENGTHS = { start: 1350, steps: [1452], max: 1452, isLocal: false };

/** A connection whose peer has sent a probe, and takes DATAGRAM frames of up to so many bytes. */
function createConnection(frameLengthMax: number): {
  readonly native: LengthCarrier;
  readonly sent: Uint8Array[];
} {
  const received = [encodeProbe(1, 100)];
  const sent: Uint8Array[] = [];
  const native: LengthCarrier = {
    dgramMaxWritableLen: () => frameLengthMax,
    dgramRecvQueueLen: () => received.length,
    dgramRecv: (into: Uint8Array) => {
      const content = received.shift();
      if (content === undefined) return null;
      into.set(content);
      return content.byteLength;
    },
    dgramSend: (content: Uint8Array) => {
      if (content.byteLength > frameLengthMax) throw new Error("BufferTooShort");
      sent.push(content);
    },
    dgramSendQueueByteSize: () => 0,
    pathStats: () => [],
    stats: () => {
      throw new Error("Nothing is counted here");
    },
  };
  return { native, sent };
}

describe("PathLength", () => {
  it("answers probes and sends its own, as far as the peer takes them", () => {
    for (const [frameLengthMax, lengths] of [
      [2000, [7, 1412]],
      [1000, [7]],
      [5, []],
    ] as const) {
      const { native, sent } = createConnection(frameLengthMax);
      const length = new PathLength(native, { lengths: LENGTHS, isDialler: false });
      for (const now of [0, 1, 1000]) length.look(now);
      expect(sent.map(({ byteLength }) => byteLength)).toEqual(lengths);
      expect(length.probeLength).toBe(frameLengthMax === 2000 ? 1452 : 0);
      expect(length.packetLength).toBe(1350);
    }
  });
});
