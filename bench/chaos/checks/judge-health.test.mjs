import { describe, expect, it } from "vitest";
import { judgeHealth } from "./judge-health.mjs";

const late = { name: "a", fromMs: 1_000, untilMs: 4_500, tookMs: 3_500, reason: "it took 3500 ms" };
const refused = { ...late, tookMs: 1, untilMs: 1_001, reason: "connect ECONNREFUSED" };

function judge(trouble, { fault, slowness = 1 } = {}) {
  const during = () => (fault === undefined ? [] : [{ fault }]);
  return judgeHealth([trouble], { incidents: { during }, slowness });
}

describe("judgeHealth", () => {
  it("wants an answer, and in time, of a node that is there", () => {
    expect(judge(late)).toHaveLength(1);
    expect(judge(refused)).toHaveLength(1);
    expect(judge(refused, { fault: { kind: "kill-daemon", target: "b" } })).toHaveLength(1);
    expect(judge(refused, { fault: { kind: "kill-worker", target: "a" } })).toHaveLength(1);
  });

  it("wants none of one that was killed, stopped or taken down to be damaged", () => {
    expect(judge(refused, { fault: { kind: "kill-daemon", target: "a" } })).toEqual([]);
    expect(judge(late, { fault: { kind: "stop-daemon", target: "a" } })).toEqual([]);
    expect(
      judge(refused, { fault: { kind: "corrupt-content", target: "a", isDown: true } }),
    ).toEqual([]);
  });

  it("waits longer where everything is slow, but not for a refusal", () => {
    expect(judge(late, { slowness: 2 })).toEqual([]);
    expect(judge(refused, { slowness: 2 })).toHaveLength(1);
  });
});
