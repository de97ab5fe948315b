import { describe, expect, it } from "vitest";
import { LossJudge } from "./loss-judge.ts";

/** What it makes of one look after the other at a path, `perLook` packets apart. */
function judge(losses: readonly number[], { rttMs = 50, perLook = 1000 } = {}): boolean[] {
  const looker = new LossJudge(5);
  let sentPacketCount = 0;
  let lostPacketCount = 0;
  return losses.map((loss) => {
    sentPacketCount += perLook;
    lostPacketCount += perLook * loss;
    return looker.observe({ sentPacketCount, lostPacketCount, rttMs });
  });
}

describe("LossJudge", () => {
  it("finds a long path out by its first losses", () => {
    expect(judge([0, 0.004, 0.006])).toEqual([false, false, true]);
  });

  it("takes a short one's for full queues, unless they go on", () => {
    const options = { rttMs: 1 };
    expect(judge([0.02, 0.02, 0.02, 0, 0.02], options)).not.toContain(true);
    expect(judge([0.02, 0.02, 0.02, 0.02], options)).toEqual([false, false, false, true]);
    expect(judge([0.009, 0.009, 0.009, 0.009], options)).toEqual([false, false, false, true]);
    expect(judge([0.004, 0.004, 0.004, 0.004], options)).not.toContain(true);
  });

  it("says nothing about a handful of packets, and adds them up", () => {
    expect(judge([0.5, 0.5, 0.5, 0.5, 0.5], { perLook: 100 })).toEqual([
      false,
      false,
      false,
      true,
      false,
    ]);
  });
});
