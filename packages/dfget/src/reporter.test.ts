import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { DfgetError } from "./errors.ts";
import { createJsonReporter } from "./json-reporter.ts";
import type { DaemonWait } from "./message-codec.ts";
import { createTextReporter, type ReporterOptions } from "./reporter.ts";
import { CapturedStream } from "./testing/fake-daemon.ts";
import { planTransfer } from "./transfer-plan.ts";
import { TransferTally } from "./transfer-tally.ts";

/** A task of 100 pieces, and a clock that only the test moves. */
function open(options: Partial<ReporterOptions> & { readonly isTTY?: boolean } = {}) {
  const target = new CapturedStream();
  target.isTTY = options.isTTY === true;
  const clock = { ms: 0 };
  const pieces = Array.from({ length: 100 }, (_, number) => ({
    number,
    offset: number * 10,
    length: 10,
  }));
  const plan = planTransfer({ contentLength: 1000, pieces }, undefined);
  const tally = new TransferTally(plan);
  return {
    target,
    clock,
    tally,
    task: { taskId: "t", peerId: "p", plan, tally, carriesContent: false },
    options: {
      target,
      label: "f",
      url: "http://o/f",
      secretParams: [],
      progress: true,
      env: {},
      now: () => clock.ms,
      ...options,
    },
    written: async () => {
      await new Promise((resolve) => target.end(resolve));
      return target.bytes.toString();
    },
  };
}

describe("createTextReporter", () => {
  it("writes a line every three seconds where there is no terminal", async () => {
    const test = open();
    {
      using reporter = createTextReporter(test.options);
      reporter.started(test.task);
      for (let number = 0; number < 100; number += 1) {
        test.clock.ms += 100;
        test.tally.add(number, { kind: "origin" });
        reporter.advanced();
      }
      reporter.done();
    }
    expect(await test.written()).toBe(
      "f: 30% (300/1000 B), 100 B/s, 0:07 left, origin 100%\n" +
        "f: 60% (600/1000 B), 100 B/s, 0:04 left, origin 100%\n" +
        "f: 90% (900/1000 B), 100 B/s, 0:01 left, origin 100%\n" +
        "f: 1000 B in 10.0 s (100 B/s): 100% from the origin\n",
    );
  });

  it("draws at most ten frames a second, and clears the bar before any other text", async () => {
    const test = open({ isTTY: true });
    {
      using reporter = createTextReporter(test.options);
      reporter.started(test.task);
      for (let number = 0; number < 50; number += 1) {
        test.clock.ms += 10;
        test.tally.add(number, { kind: "local" });
        reporter.advanced();
      }
      reporter.note("a note");
      reporter.failed(new DfgetError("ERR_INCOMPLETE", "no more"), 1);
    }
    const frames = (await test.written()).split("\r");
    expect(frames.filter((frame) => frame.startsWith("f "))).toHaveLength(6);
    expect(frames.at(-1)).toContain("\u001b[Ka note\n\u001b[1;31mDownloading Failed!\u001b[0m\n");
  });

  it("is silent about progress when told so, and on a terminal that knows no escapes", async () => {
    for (const options of [
      { isTTY: true, progress: false },
      { isTTY: true, env: { TERM: "dumb" } },
    ]) {
      const test = open(options);
      using reporter = createTextReporter(test.options);
      reporter.started(test.task);
      test.tally.add(0, { kind: "origin" });
      reporter.advanced();
      expect(await test.written()).toBe("");
    }
  });
});

const WAIT: DaemonWait = {
  reason: "scheduler",
  description: "the scheduler has not answered",
  waitedMs: 2_000,
  boundMs: 43_000,
};

describe("createTextReporter while nothing moves", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
  afterEach(() => void vi.useRealTimers());

  /** A second of the test's clock, in the ticks of the reporter. */
  const pass = (clock: { ms: number }, seconds: number): void => {
    for (let tick = 0; tick < seconds * 20; tick += 1) {
      clock.ms += 50;
      vi.advanceTimersByTime(50);
    }
  };

  it("says what is waited for, and until when, in the place of the bar", async () => {
    const test = open({ isTTY: true });
    {
      using reporter = createTextReporter(test.options);
      reporter.started(test.task);
      reporter.waiting(WAIT);
      pass(test.clock, 12);
      reporter.waiting(undefined);
      test.tally.add(0, { kind: "origin" });
      pass(test.clock, 1);
    }
    const frames = (await test.written()).split("\r");
    const waits = frames.filter((frame) => frame.includes("waiting:"));
    expect(waits[0]).toContain("waiting: the scheduler has not answered for 3 s (until 43 s)");
    expect(waits.at(-1)).toContain("f    0%  waiting: the scheduler has not answered for 14 s");
    expect(frames.at(-2)).toContain("f    1%");
  });

  it("says so in lines where there is no terminal, also before the start", async () => {
    const test = open();
    {
      using reporter = createTextReporter(test.options);
      reporter.waiting({
        ...WAIT,
        description: "the origin\u001b[2J has not answered",
        boundMs: 0,
      });
      pass(test.clock, 4);
      reporter.started(test.task);
      reporter.waiting(WAIT);
      pass(test.clock, 3);
    }
    expect(await test.written()).toBe(
      "f: waiting: the origin\ufffd[2J has not answered for 5 s\n" +
        "f: 0%, waiting: the scheduler has not answered for 4 s (until 43 s)\n",
    );
  });

  it("says so as soon as it has lasted long enough, whenever it began", async () => {
    const test = open();
    using reporter = createTextReporter(test.options);
    pass(test.clock, 1);
    reporter.waiting({ ...WAIT, waitedMs: 0 });
    pass(test.clock, 3);
    expect(await test.written()).toBe(
      "f: waiting: the scheduler has not answered for 3 s (until 43 s)\n",
    );
  });

  it("says nothing of it when told to be silent", async () => {
    const test = open({ progress: false });
    using reporter = createTextReporter(test.options);
    reporter.waiting(WAIT);
    pass(test.clock, 10);
    expect(await test.written()).toBe("");
  });
});

describe("createJsonReporter", () => {
  it("tells what is waited for, and that something moves again", async () => {
    const test = open();
    using reporter = createJsonReporter(test.options);
    test.clock.ms = 3_000;
    reporter.waiting({ ...WAIT, boundMs: 0 });
    reporter.waiting(WAIT);
    test.clock.ms = 5_000;
    reporter.waiting(undefined);
    const events = (await test.written())
      .trim()
      .split("\n")
      .map((line): Record<string, unknown> => JSON.parse(line));
    const waiting = {
      event: "waiting",
      reason: "scheduler",
      description: "the scheduler has not answered",
      waitedMs: 2_000,
      elapsedMs: 3_000,
    };
    expect(events).toEqual([
      { ...waiting, boundMs: null },
      { ...waiting, boundMs: 43_000 },
      { event: "moving", elapsedMs: 5_000 },
    ]);
  });

  it("reports progress once a second at most", async () => {
    const test = open();
    using reporter = createJsonReporter(test.options);
    reporter.note("hello");
    reporter.started(test.task);
    for (let number = 0; number < 100; number += 1) {
      test.clock.ms += 25;
      test.tally.add(number, { kind: "parent", peerId: "p" });
      reporter.advanced();
    }
    reporter.done();
    const events = (await test.written())
      .trim()
      .split("\n")
      .map((line): Record<string, unknown> => JSON.parse(line));
    expect(events.map(({ event, done }) => [event, done])).toEqual([
      ["note", undefined],
      ["started", undefined],
      ["progress", 10],
      ["progress", 410],
      ["progress", 810],
      ["done", 1000],
    ]);
    expect(events.at(-1)).toMatchObject({ elapsedMs: 2500, rate: 400, fromParents: { p: 1000 } });
  });
});
