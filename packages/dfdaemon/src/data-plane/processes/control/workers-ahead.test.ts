import { describe, expect, it } from "vitest";
import { createFakeWorkerProcess, type FakeWorkerProcess } from "../testing/fake-worker-process.ts";
import { WorkersAhead } from "./workers-ahead.ts";

describe("WorkersAhead", () => {
  function open(count: number): { ahead: WorkersAhead; spawned: FakeWorkerProcess[] } {
    const spawned: FakeWorkerProcess[] = [];
    const spawn = (): FakeWorkerProcess => {
      const worker = createFakeWorkerProcess();
      spawned.push(worker);
      return worker;
    };
    return { ahead: new WorkersAhead(count, spawn), spawned };
  }

  it("hands out each process that it has started once, and new ones after that", () => {
    const { ahead, spawned } = open(2);
    expect(spawned).toHaveLength(2);
    const taken = [ahead.take(), ahead.take()];
    expect(taken).toEqual(spawned);
    const third = ahead.take();
    expect(spawned).toHaveLength(3);
    expect(third).toBe(spawned[2]);
    for (const worker of spawned) worker.kill();
  });

  it("starts none for a count of 0", () => {
    expect(open(0).spawned).toEqual([]);
  });

  it("ends the processes that nobody has taken, and no other", async () => {
    const { ahead, spawned } = open(2);
    const taken = ahead.take();
    let isTakenEnded = false;
    void taken.ended.then(() => (isTakenEnded = true));
    ahead[Symbol.dispose]();
    expect((await spawned[1]?.ended)?.signal).toBe("SIGKILL");
    expect(isTakenEnded).toBe(false);
    taken.kill();
    await taken.ended;
  });
});
