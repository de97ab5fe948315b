import { describe, expect, it } from "vitest";

import { DfgetError } from "./errors.ts";
import { createJsonReporter } from "./json-reporter.ts";
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

  it("says what the daemon waits for, on a line of its own, unless nothing is to be said", async () => {
    const notice = {
      text: "waiting for the origin: it asked to come back in 5 s (\u001b[2J)",
      waitMs: 5000,
    };
    for (const progress of [true, false]) {
      const test = open({ progress });
      {
        using reporter = createTextReporter(test.options);
        reporter.waiting(notice);
      }
      expect(await test.written()).toBe(
        progress ? "f: waiting for the origin: it asked to come back in 5 s (\ufffd[2J)\n" : "",
      );
    }
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

describe("createJsonReporter", () => {
  it("says what the daemon waits for", async () => {
    const test = open();
    {
      using reporter = createJsonReporter(test.options);
      reporter.waiting({ text: "waiting for the origin", waitMs: 5000 });
    }
    expect(JSON.parse(await test.written())).toEqual({
      event: "waiting",
      message: "waiting for the origin",
      waitMs: 5000,
    });
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
