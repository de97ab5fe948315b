import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Wait } from "../tasks/wait.ts";
import { withWaits } from "./with-waits.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Events that come when a test says so. */
function open({ isRead = true } = {}) {
  let give: (event: string | Error | undefined) => void = () => {};
  const state: { wait: Wait | undefined; isLeft: boolean; hasToEnd: boolean } = {
    wait: undefined,
    isLeft: false,
    hasToEnd: false,
  };
  async function* events(): AsyncGenerator<string, void, undefined> {
    try {
      for (;;) {
        const event = await new Promise<string | Error | undefined>((resolve) => {
          give = resolve;
        });
        if (event === undefined) return;
        if (event instanceof Error) throw event;
        yield event;
      }
    } finally {
      state.isLeft = true;
    }
  }
  const heard: unknown[] = [];
  const onLeave = (): void => {
    state.hasToEnd = true;
    give(new Error("nobody waits"));
  };
  const stream = withWaits(events(), { wait: () => state.wait }, { onLeave });
  const all = (async () => {
    if (!isRead) return;
    for await (const event of stream) heard.push(typeof event === "string" ? event : event.wait);
  })();
  return { state, stream, heard, all, give: (event: string | Error | undefined) => give(event) };
}

const wait = (fields: Partial<Wait> = {}): Wait => ({
  reason: "scheduler",
  description: "the scheduler has not answered",
  sinceMs: performance.now(),
  untilMs: performance.now() + 43_000,
  ...fields,
});

describe("withWaits", () => {
  it("tells what is waited for when it begins, is something else, and is over; and everything else as it comes", async () => {
    const { state, heard, all, give } = open();
    await vi.advanceTimersByTimeAsync(2_000);
    give("started");
    await vi.advanceTimersByTimeAsync(0);
    state.wait = wait();
    await vi.advanceTimersByTimeAsync(10_000);
    state.wait = wait({
      reason: "origin",
      description: "the origin sends nothing",
      untilMs: undefined,
    });
    await vi.advanceTimersByTimeAsync(10_000);
    give("piece");
    await vi.advanceTimersByTimeAsync(10_000);
    state.wait = undefined;
    await vi.advanceTimersByTimeAsync(10_000);
    give(undefined);
    await all;
    expect(heard).toEqual([
      "started",
      {
        reason: "scheduler",
        description: "the scheduler has not answered",
        waitedMs: expect.any(Number),
        boundMs: 43_000,
      },
      {
        reason: "origin",
        description: "the origin sends nothing",
        waitedMs: expect.any(Number),
        boundMs: 0,
      },
      "piece",
      { reason: "" },
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("tells of a wait that begins anew, not of one that was only looked at later", async () => {
    const { state, heard, give } = open();
    const sinceMs = performance.now();
    state.wait = wait({ sinceMs });
    await vi.advanceTimersByTimeAsync(2_000);
    state.wait = wait({ sinceMs: sinceMs + 300 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(heard).toHaveLength(1);
    state.wait = wait({ sinceMs: sinceMs + 4_000 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(heard).toHaveLength(2);
    give(undefined);
  });

  it("fails as the events do", async () => {
    const { all, give, state } = open();
    state.wait = wait();
    await vi.advanceTimersByTimeAsync(1_000);
    const failed = expect(all).rejects.toThrow("no source");
    give(new Error("no source"));
    await failed;
    expect(state.isLeft).toBe(true);
    expect(state.hasToEnd).toBe(false);
  });

  it("ends what is waited for when the reader leaves meanwhile", async () => {
    const { state, stream, heard } = open({ isRead: false });
    state.wait = wait();
    const reading = (async () => {
      for await (const event of stream) {
        heard.push(event);
        break;
      }
    })();
    await vi.advanceTimersByTimeAsync(1_000);
    await reading;
    expect(heard).toMatchObject([{ kind: "wait", wait: { reason: "scheduler" } }]);
    expect(state).toMatchObject({ hasToEnd: true, isLeft: true });
  });
});
