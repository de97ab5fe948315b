import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Incidents, relationOf } from "./incidents.mjs";

describe("Incidents", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("knows what lasted during a span, and what was still felt in it", () => {
    const incidents = new Incidents();
    const incident = incidents.begin({ id: "f1" });
    vi.setSystemTime(3_000);
    expect(incidents.during({ fromMs: 2_000, untilMs: 2_500 })).toEqual([incident]);
    incidents.end(incident);
    expect(incidents.during({ fromMs: 0, untilMs: 999 })).toEqual([]);
    expect(incidents.during({ fromMs: 0, untilMs: 1_000 })).toEqual([incident]);
    expect(incidents.during({ fromMs: 3_001, untilMs: 9_000 })).toEqual([]);
    expect(incidents.during({ fromMs: 3_001, untilMs: 9_000, settleMs: 1 })).toEqual([incident]);
  });
});

describe("relationOf", () => {
  const download = { node: "peer-1", file: "f" };

  it.each([
    [{ kind: "kill-daemon", target: "peer-1" }, "own"],
    [{ kind: "kill-daemon", target: "peer-2" }, "other"],
    [{ kind: "cut", target: "origin" }, "origin"],
    [{ kind: "kill-scheduler", target: "scheduler" }, "scheduler"],
    [{ kind: "split", target: ["peer-2"] }, "everybody"],
    [{ kind: "lie", target: "f" }, "file"],
    [{ kind: "lie", target: "g" }, "other file"],
    [{ kind: "origin-error", target: "f" }, "origin"],
    [{ kind: "origin-error", target: "g" }, "other file"],
    [{ kind: "origin-error", target: "g", isEverywhere: true }, "origin"],
  ])("finds %o to be %s", (fault, relation) => {
    expect(relationOf(fault, download)).toBe(relation);
  });
});
