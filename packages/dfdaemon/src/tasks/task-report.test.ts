import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  DEFAULT_REQUEST,
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
  type FakeCluster,
  type FakeNode,
  type Script,
} from "../testing/fake-cluster.ts";
import { StallingSource } from "../testing/stalling-source.ts";
import { DownloadCall } from "./download-call.ts";

const LENGTH = 6 * PIECE_LENGTH;
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });
const silent: Script = () => {};

/** A download counts as waiting when nothing has moved for a second and a half. */
describe("what a daemon says of its downloads", { timeout: 30_000 }, () => {
  let cluster: FakeCluster;
  const stop = new AbortController();
  const running: Promise<unknown>[] = [];
  beforeEach(async () => {
    cluster = await openFakeCluster(LENGTH);
  });
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
    await Promise.all(running);
  });

  const begin = (node: FakeNode): void => {
    running.push(node.download({}, stop.signal).catch(() => undefined));
  };
  const stateOf = ({ manager }: FakeNode): string =>
    manager
      .report()
      .map(({ state, description }) => `${state}: ${description}`)
      .join();

  it("is nothing where there is none", async () => {
    const node = await cluster.addNode("a", { script: toOrigin });
    expect(node.manager.report()).toEqual([]);
    await node.download();
    // The flight says good-bye to the scheduler, still.
    await expect.poll(() => node.manager.report()).toEqual([]);
  });

  it("names a scheduler that does not answer, and until when it is waited for", async () => {
    const node = await cluster.addNode("a", {
      script: silent,
      limits: { schedulerAnswerMs: 9_000 },
    });
    begin(node);
    await expect
      .poll(() => stateOf(node), { timeout: 10_000 })
      .toBe("scheduler: the scheduler has not answered");
    const [report] = node.manager.report();
    expect(report).toMatchObject({
      taskId: TASK_ID,
      url: "http://origin.test/file",
      callerCount: 1,
      childCount: 0,
      boundMs: 9_125,
      content: { length: LENGTH, finishedLength: 0, pieceCount: 6, finishedCount: 0 },
      transfer: { receivedLength: 0, rate: 0, scheduler: "fake", origin: null, parents: [] },
    });
    expect(report!.waitedMs).toBeGreaterThanOrEqual(1_500);
  });

  it("names parents that have nothing, and those whose pieces do not come", async () => {
    const seed = await cluster.addNode("seed", {
      script: silent,
      corrupt: (source) => new StallingSource(source, { sendsTo: 10_000 }),
    });
    begin(seed);
    await expect.poll(() => seed.sessions.length).toBe(1);
    const child = await cluster.addNode("child", {
      script: (session) => session.say({ kind: "parents", parents: [seed.candidate] }),
    });
    begin(child);
    await expect
      .poll(() => stateOf(child), { timeout: 10_000 })
      .toBe("pieces: no parent has had what is missing");
    expect(seed.manager.report()[0]).toMatchObject({ callerCount: 1 });
    toOrigin(seed.sessions[0]!);
    await expect
      .poll(() => stateOf(child), { timeout: 10_000 })
      .toMatch(/^content: nothing has come of piece \d from 127\.0\.0\.1-seed \(and \d more\)$/);
    const [report] = child.manager.report();
    expect(report?.transfer?.parents).toEqual([
      {
        hostId: "127.0.0.1-seed",
        state: expect.any(String),
        inFlight: expect.any(Number),
        byteCount: 0,
        rate: null,
      },
    ]);
    expect(report?.transfer?.pieces[0]).toMatchObject({
      from: ["127.0.0.1-seed"],
      announced: true,
      receivedLength: 10_000,
      length: PIECE_LENGTH,
    });
  });

  it("names an origin that says nothing, before and after it is known what the file is", async () => {
    const releases: (() => void)[] = [];
    const hold = (): Promise<void> =>
      new Promise((resolve) => {
        releases.push(resolve);
      });
    cluster.origin.beforeStat = hold;
    cluster.origin.beforeRead = hold;
    const node = await cluster.addNode("a", { script: toOrigin });
    begin(node);
    await expect
      .poll(() => stateOf(node), { timeout: 10_000 })
      .toBe("origin-facts: the origin has not said what the file is");
    expect(node.manager.report()[0]).toMatchObject({ content: null, transfer: null });
    releases.pop()!();
    await expect
      .poll(() => stateOf(node), { timeout: 10_000 })
      .toBe("origin: the origin has sent nothing");
    for (const release of releases) release();
  });

  it("tells a caller who waits with others the same", async () => {
    const node = await cluster.addNode("a", { script: silent });
    const calls = [new DownloadCall(), new DownloadCall()];
    const left = new AbortController();
    for (const call of calls) {
      const events = node.manager.download(DEFAULT_REQUEST, left.signal, call);
      running.push(
        (async () => {
          for await (const _ of events);
        })().catch(() => undefined),
      );
    }
    await expect
      .poll(() => calls.map((call) => call.wait()?.reason), { timeout: 10_000 })
      .toEqual(["scheduler", "scheduler"]);
    expect(node.manager.report()[0]?.callerCount).toBe(2);
    left.abort(new Error("enough"));
  });
});

describe("DownloadCall", () => {
  it("tells of a pause that the origin asks for, and of nothing while bytes come", () => {
    const clock = { ms: 0 };
    const call = new DownloadCall(() => clock.ms);
    call.enter("origin-facts");
    clock.ms = 1_000;
    expect(call.wait()).toBeUndefined();
    clock.ms = 4_000;
    expect(call.wait()).toMatchObject({ reason: "origin-facts", sinceMs: 0 });
    const reason = "Cannot read http://o/f: origin answered 429, Retry-After: 60";
    call.waits({ kind: "asked", waitMs: 60_000, reason, attempt: 1 });
    expect(call.wait()).toEqual({
      reason: "origin-retry",
      description:
        "the origin has been left alone, as it asked (origin answered 429, Retry-After: 60)",
      sinceMs: 4_000,
      untilMs: 64_000,
    });
    clock.ms = 70_000;
    call.moved();
    expect(call.wait()).toBeUndefined();
    clock.ms = 73_000;
    expect(call.wait()).toMatchObject({ reason: "origin-facts", sinceMs: 70_000 });
    call.enter("output");
    clock.ms = 80_000;
    expect(call.wait()).toMatchObject({ reason: "output", sinceMs: 73_000 });
  });
});
