import type { Protocol } from "@damselfly/transport";
import { describe, expect, it } from "vitest";
import { judgeRun, type Run } from "./judge-run.ts";
import { ParentRecord } from "./parent-record.ts";
import { LOOK_MS, Progress } from "../relay/progress.ts";

const MIB = 1024 * 1024;

/** Time that a test moves. */
class Clock {
  ms = 0;
  readonly now = (): number => this.ms;
}

function open(rttMs: number) {
  const clock = new Clock();
  const record = new ParentRecord({
    hostId: "parent",
    named: undefined,
    now: clock.now,
    random: () => 0.5,
    onDecision() {},
  });
  record.meet(["tcp", "quic", "grpc"], "here");
  record.noteRtt(rttMs);
  const runs = new Set<Run>();
  const begin = (
    protocol: Protocol,
    { remaining = 4 * MIB, others = ["tcp", "quic", "grpc"] as Protocol[] } = {},
  ): Run => {
    const progress = new Progress(clock.now);
    const run: Run = {
      protocol,
      progress,
      remaining,
      others: others.filter((other) => other !== protocol),
    };
    runs.add(run);
    return run;
  };
  /** Lets all that run receive at these rates, in bytes a millisecond, waiting all the while or not. */
  const pass = (ms: number, rates: ReadonlyMap<Run, number>, { isWaiting = true } = {}): void => {
    for (let passed = 0; passed < ms; passed += LOOK_MS / 2) {
      for (const { progress } of runs) if (isWaiting) progress.waits();
      clock.ms += LOOK_MS / 2;
      for (const [run, rate] of rates) if (rate > 0) run.progress.arrived((rate * LOOK_MS) / 2);
      if (passed % LOOK_MS !== 0) for (const { progress } of runs) progress.look();
    }
  };
  const judge = (run: Run) => judgeRun(run, { record, runs });
  return { clock, record, begin, pass, judge };
}

describe("judgeRun", () => {
  it("leaves alone what is fast enough", () => {
    const { begin, pass, judge } = open(50);
    const run = begin("tcp");
    pass(600, new Map([[run, 10_000]]));
    expect(judge(run)).toBeUndefined();
  });

  it("moves what gets a third of what others get, and not before it could show itself", () => {
    const { begin, pass, judge } = open(50);
    const [slow, fast] = [begin("tcp"), begin("quic")];
    const rates = new Map([
      [slow, 300],
      [fast, 5_000],
    ]);
    pass(300, rates);
    expect(judge(slow)).toBeUndefined();
    pass(300, rates);
    expect(judge(slow)).toEqual({ to: "quic", reason: "crawled" });
    expect(judge(fast)).toBeUndefined();
  });

  it("goes by what was measured where nothing runs", () => {
    const { begin, pass, judge, record } = open(1);
    record.measured("quic", { length: 4 * MIB, durationMs: 100, concurrency: 1 });
    const run = begin("tcp");
    pass(600, new Map([[run, 5_000]]));
    expect(judge(run)).toEqual({ to: "quic", reason: "crawled" });
  });

  it("waits for what still gets faster", () => {
    const { begin, pass, judge } = open(50);
    const [young, fast] = [begin("tcp"), begin("quic")];
    for (const rate of [50, 100, 200]) {
      pass(
        200,
        new Map([
          [young, rate],
          [fast, 5_000],
        ]),
      );
    }
    expect(judge(young)).toBeUndefined();
    pass(
      600,
      new Map([
        [young, 200],
        [fast, 5_000],
      ]),
    );
    expect(judge(young)).toEqual({ to: "quic", reason: "crawled" });
  });

  it("does not blame the network for a slow disk", () => {
    const { begin, pass, judge, record } = open(1);
    record.measured("quic", { length: 4 * MIB, durationMs: 100, concurrency: 1 });
    const run = begin("tcp");
    pass(200, new Map([[run, 300]]));
    pass(1_000, new Map([[run, 300]]), { isWaiting: false });
    expect(judge(run)).toBeUndefined();
  });

  it("tries QUIC on a long path soon, and anything on a short one later", () => {
    for (const [rttMs, soonMs] of [
      [50, 600],
      [1, 2_200],
    ] as const) {
      const { begin, pass, judge } = open(rttMs);
      const run = begin("tcp");
      pass(soonMs - 400, new Map([[run, 300]]));
      expect(judge(run)).toBeUndefined();
      pass(400, new Map([[run, 300]]));
      expect(judge(run)).toEqual({ to: "quic", reason: "crawled" });
    }
  });

  it("does not take gRPC for another way than TCP, unless nothing comes at all", () => {
    const { begin, pass, judge } = open(1);
    const run = begin("tcp", { others: ["grpc"] });
    pass(3_000, new Map([[run, 300]]));
    expect(judge(run)).toBeUndefined();
    pass(2_200, new Map());
    expect(judge(run)).toEqual({ to: "grpc", reason: "silent" });
  });

  it("asks nobody who does not get through, and nobody for the end of a piece", () => {
    const { begin, pass, judge, record } = open(50);
    const [slow, ending, fast] = [begin("tcp"), begin("tcp", { remaining: 0 }), begin("quic")];
    pass(
      600,
      new Map([
        [slow, 300],
        [ending, 300],
        [fast, 5_000],
      ]),
    );
    expect(judge(ending)).toBeUndefined();
    record.failed("quic", "gone");
    expect(judge(slow)).toBeUndefined();
  });
});
