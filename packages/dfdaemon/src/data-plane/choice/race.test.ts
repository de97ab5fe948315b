import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { race, RaceLost, type Entrant } from "./race.ts";

/** What a runner does: `null` is silence until it is told to end. */
interface Course {
  readonly ms: number;
  readonly end?: "wins" | Error;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function open(
  courses: Record<string, Course>,
  options: {
    readonly patienceMs?: (name: string) => number;
    readonly holdMs?: (name: string) => number;
  } = {},
) {
  const log: string[] = [];
  const signals = new Map<string, AbortSignal>();
  const startedAt = Date.now();
  const run = (name: string, signal: AbortSignal): Promise<string> => {
    log.push(`${name} starts at ${Date.now() - startedAt}`);
    signals.set(name, signal);
    const { ms, end } = courses[name]!;
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (end === undefined) return;
      setTimeout(() => (end === "wins" ? resolve(`prize of ${name}`) : reject(end)), ms);
    });
  };
  const failed = vi.fn((_: string, error: unknown) => !String(error).includes("everybody"));
  const discard = vi.fn(async () => {});
  const stop = new AbortController();
  const start = (entrants: readonly Entrant<string>[]) => {
    const outcome = race({ entrants, run, discard, failed, ...options, signal: stop.signal });
    outcome.catch(() => undefined);
    return outcome;
  };
  return { log, signals, start, failed, discard, stop };
}

/** Whose turn it is waits for what has arrived meanwhile to be read: a millisecond on the clock of these tests. */
const ENTRANTS = [
  { name: "a", afterMs: 0 },
  { name: "b", afterMs: 50 },
  { name: "c", afterMs: 200 },
];

describe("race", () => {
  it("asks nobody else when the first is fast", async () => {
    const { start, log } = open({ a: { ms: 49, end: "wins" } });
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toMatchObject({ winner: "a", prize: "prize of a", losers: [] });
    expect(log).toEqual(["a starts at 0"]);
  });

  it("holds one back whose turn has come, once, and not when those before it have failed", async () => {
    const holdMs = (): number => 400;
    const slow = open({ a: { ms: 0 }, b: { ms: 10, end: "wins" } }, { holdMs });
    const outcome = slow.start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toMatchObject({ winner: "b" });
    expect(slow.log).toEqual(["a starts at 0", "b starts at 451"]);
    const broken = open(
      { a: { ms: 60, end: new Error("no") }, b: { ms: 10, end: "wins" } },
      { holdMs },
    );
    const rescued = broken.start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await rescued).toMatchObject({ winner: "b" });
    expect(broken.log).toEqual(["a starts at 0", "b starts at 60"]);
  });

  it("reads what has arrived in a busy moment before it starts another", async () => {
    vi.useRealTimers();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new TypeError("A port is wanted");
    const socket = connect(address.port, "127.0.0.1");
    const asked: string[] = [];
    const racing = race({
      entrants: [
        { name: "a", afterMs: 0 },
        { name: "b", afterMs: 20 },
      ],
      run: async (name) => {
        asked.push(name);
        await once(socket, "connect");
      },
      discard: async () => {},
      failed: () => true,
      signal: new AbortController().signal,
    });
    // The system connects while the process is busy for longer than the head start; then timers come first.
    const until = performance.now() + 60;
    while (performance.now() < until);
    expect(await racing).toMatchObject({ winner: "a", losers: [] });
    expect(asked).toEqual(["a"]);
    socket.destroy();
    server.close();
  });

  it("lets the second in after the head start, and ends the loser", async () => {
    const { start, log, signals } = open({ a: { ms: 0 }, b: { ms: 100, end: "wins" } });
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toMatchObject({ winner: "b", losers: ["a"] });
    expect(log).toEqual(["a starts at 0", "b starts at 51"]);
    expect(signals.get("a")!.reason).toBeInstanceOf(RaceLost);
    expect(signals.get("b")!.aborted).toBe(false);
  });

  it("does not wait for the head start of one that has failed", async () => {
    const { start, log, failed } = open({
      a: { ms: 3, end: new Error("refused") },
      b: { ms: 1, end: new Error("refused") },
      c: { ms: 1, end: "wins" },
    });
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await outcome).winner).toBe("c");
    expect(log).toEqual(["a starts at 0", "b starts at 3", "c starts at 4"]);
    expect(failed.mock.calls.map(([name]) => name)).toEqual(["a", "b"]);
  });

  it("goes on with those that run when one fails", async () => {
    const { start, log } = open({
      a: { ms: 500, end: "wins" },
      b: { ms: 10, end: new Error("no") },
      c: { ms: 0 },
    });
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toMatchObject({ winner: "a", losers: ["c"] });
    expect(log).toEqual(["a starts at 0", "b starts at 51", "c starts at 252"]);
  });

  it("ends with a failure that is everybody's, and with the last one when all have failed", async () => {
    const shared = open({ a: { ms: 60, end: new Error("everybody's") }, b: { ms: 0 } });
    const ended = shared.start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(ended).rejects.toThrow("everybody's");
    expect(shared.signals.get("b")!.aborted).toBe(true);
    const all = open({
      a: { ms: 1, end: new Error("first") },
      b: { ms: 1, end: new Error("second") },
    });
    const lost = all.start(ENTRANTS.slice(0, 2));
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(lost).rejects.toThrow("second");
  });

  it("throws the signal's reason, and ends all who run", async () => {
    const { start, stop, signals } = open({ a: { ms: 0 }, b: { ms: 0 } });
    const outcome = start(ENTRANTS.slice(0, 2));
    await vi.advanceTimersByTimeAsync(60);
    const reason = new Error("the user left");
    stop.abort(reason);
    await expect(outcome).rejects.toBe(reason);
    expect([...signals.values()].map((signal) => signal.reason)).toEqual([reason, reason]);
    await expect(start(ENTRANTS)).rejects.toBe(reason);
  });

  it("frees what a loser brings all the same", async () => {
    const discard = vi.fn(async (prize: string) => void prize.length);
    const late = async (name: string): Promise<string> => {
      await new Promise((resolve) => setTimeout(resolve, name === "a" ? 60 : 5));
      return name;
    };
    const outcome = race({
      entrants: ENTRANTS.slice(0, 2),
      run: late,
      discard,
      failed: () => true,
      signal: new AbortController().signal,
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await outcome).winner).toBe("b");
    expect(discard.mock.calls).toEqual([["a"]]);
  });

  it("holds a prize back for one that is preferred, and gives that one the race", async () => {
    const { start, discard, signals } = open(
      { a: { ms: 60, end: "wins" }, b: { ms: 30, end: "wins" } },
      { patienceMs: (name) => (name === "a" ? 100 : 0) },
    );
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toEqual({ winner: "b", prize: "prize of b", losers: [] });
    expect(discard).toHaveBeenCalledTimes(1);
    expect(signals.has("c")).toBe(false);
  });

  it.each([
    ["takes too long", { ms: 500, end: "wins" }, 160],
    ["fails", { ms: 30, end: new Error("no") }, 81],
  ] as const)("takes what it holds back when the other %s", async (_, other, atMs) => {
    const { start, discard } = open(
      { a: { ms: 60, end: "wins" }, b: other },
      { patienceMs: () => 100 },
    );
    let endedAt = 0;
    const startedAt = Date.now();
    const outcome = start(ENTRANTS).then((result) => {
      endedAt = Date.now() - startedAt;
      return result;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await outcome).toMatchObject({ winner: "a", prize: "prize of a" });
    expect(endedAt).toBe(atMs);
    expect(discard).not.toHaveBeenCalled();
  });

  it("frees what it holds back when the signal aborts", async () => {
    const { start, discard, stop } = open(
      { a: { ms: 60, end: "wins" }, b: { ms: 0 } },
      { patienceMs: () => 100 },
    );
    const outcome = start(ENTRANTS);
    await vi.advanceTimersByTimeAsync(81);
    stop.abort(new Error("the user left"));
    await expect(outcome).rejects.toThrow("the user left");
    expect(discard).toHaveBeenCalledTimes(1);
  });
});
