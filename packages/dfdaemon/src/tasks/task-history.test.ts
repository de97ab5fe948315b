import { describe, expect, it } from "vitest";
import { TaskHistory } from "./task-history.ts";

describe("TaskHistory", () => {
  it("remembers a failure until the task succeeds, and a prefetch beyond that", () => {
    let nowMs = 1;
    const history = new TaskHistory({ now: () => nowMs });
    expect(history.of("a")).toEqual({});
    history.prefetched("a");
    nowMs = 2;
    history.failed("a");
    expect(history.of("a")).toEqual({ prefetchedAtMs: 1, failedAtMs: 2 });
    history.succeeded("a");
    expect(history.of("a")).toEqual({ prefetchedAtMs: 1 });
    history.forget("a");
    expect(history.of("a")).toEqual({});
    history.succeeded("never heard of");
    expect(history.of("never heard of")).toEqual({});
  });

  it("forgets the task that it heard of longest ago when there are too many", () => {
    const history = new TaskHistory();
    history.failed("old");
    for (let count = 0; count < 9_999; count += 1) history.failed(`task-${count}`);
    history.failed("old");
    expect(history.of("task-0")).toHaveProperty("failedAtMs");
    history.failed("one more");
    expect(history.of("old")).toHaveProperty("failedAtMs");
    expect(history.of("task-0")).toEqual({});
    expect(history.of("task-1")).toHaveProperty("failedAtMs");
    for (let count = 0; count < 100_000; count += 1) history.prefetched(`later-${count}`);
    expect(history.of("later-89999")).toEqual({});
    expect(history.of("later-90000")).toHaveProperty("prefetchedAtMs");
    expect(history.of("old")).toEqual({});
  });
});
