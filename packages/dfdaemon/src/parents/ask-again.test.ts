import { status } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { askAgain } from "./ask-again.ts";

const overloaded = status("RESOURCE_EXHAUSTED", "server is overloaded");
const patient = { signal: new AbortController().signal, pauseMs: 1 };

/** A server that fails with each of these in turn, after so many answers, and then answers 1, 2, 3. */
function serverThatFails(...failures: readonly (readonly [answerCount: number, error: Error])[]): {
  call: () => AsyncIterable<number>;
  readonly callCount: number;
} {
  let callCount = 0;
  return {
    async *call() {
      const failure = failures[callCount];
      callCount += 1;
      for (const answer of [1, 2, 3].slice(0, failure?.[0])) yield answer;
      if (failure !== undefined) throw failure[1];
    },
    get callCount() {
      return callCount;
    },
  };
}

async function collect(answers: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const answer of answers) all.push(answer);
  return all;
}

describe("askAgain", () => {
  it("calls until an overloaded server has room", async () => {
    const server = serverThatFails([0, overloaded], [0, overloaded]);
    expect(await collect(askAgain(server.call, patient))).toEqual([1, 2, 3]);
    expect(server.callCount).toBe(3);
  });

  it("gives up in the end", async () => {
    const server = serverThatFails(...Array.from({ length: 9 }, () => [0, overloaded] as const));
    await expect(collect(askAgain(server.call, patient))).rejects.toBe(overloaded);
    expect(server.callCount).toBe(5);
  });

  it("repeats nothing that was answered, and no other failure", async () => {
    const half = serverThatFails([2, overloaded]);
    await expect(collect(askAgain(half.call, patient))).rejects.toBe(overloaded);
    const gone = status("UNAVAILABLE", "gone");
    const other = serverThatFails([0, gone]);
    await expect(collect(askAgain(other.call, patient))).rejects.toBe(gone);
    expect([half.callCount, other.callCount]).toEqual([1, 1]);
  });

  it("does not wait for the room when nobody wants it any more", async () => {
    const leaving = new AbortController();
    const server = serverThatFails([0, overloaded]);
    const asking = collect(askAgain(server.call, { signal: leaving.signal, pauseMs: 600_000 }));
    setImmediate(() => leaving.abort(new Error("enough")));
    await expect(asking).rejects.toThrow("enough");
    expect(server.callCount).toBe(1);
  });
});
