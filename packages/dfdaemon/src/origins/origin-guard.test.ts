import { describe, expect, it, vi } from "vitest";
import { collect, openOriginFixture, type OriginFixture } from "../testing/origin-fixture.ts";
import { settle } from "../testing/raw-server.ts";
import { openOriginServer, seededContent, type Behaviour } from "../testing/origin-server.ts";
import { OriginError } from "./origin-error.ts";
import { OriginGuard, SYSTEM_CLOCK, type OriginClock } from "./origin-guard.ts";
import type { OriginRequest, OriginWait } from "./origin.ts";

const content = seededContent(80_000);
const OFFSETS = Array.from({ length: 8 }, (_, index) => index * 10_000);

/** All of a file by eight ranges at once; what each came to. */
async function readParts(
  { origin, server }: OriginFixture,
  path = "/file",
): Promise<PromiseSettledResult<Buffer>[]> {
  const request = { url: server.url + path, header: {} };
  const expected = { etag: '"80000"', lastModified: "", contentLength: content.byteLength };
  return await Promise.allSettled(
    OFFSETS.map(async (offset) => {
      const range = { offset, length: 10_000 };
      await using body = await origin.readRange(request, range, expected);
      return await collect(body.content);
    }),
  );
}

const faultOf = (result: PromiseSettledResult<unknown>): unknown =>
  result.status === "rejected" ? result.reason : undefined;
const isWhole = (results: PromiseSettledResult<Buffer>[]): boolean =>
  Buffer.concat(
    results.map((each) => (each.status === "fulfilled" ? each.value : Buffer.of())),
  ).equals(content);

/** The first requests are answered so, the others as they should be. */
const failing =
  (count: number, failure: Behaviour) =>
  (_request: unknown, earlierCount: number): Behaviour =>
    earlierCount < count ? failure : { content };

/** A clock that goes on by hand. */
class ManualClock implements OriginClock {
  nowMs = 1_000_000;
  /** What the machine's clock is ahead of this one. */
  aheadMs = 0;
  readonly sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  now(): number {
    return this.nowMs;
  }

  date(): number {
    return this.nowMs + this.aheadMs;
  }

  random(): number {
    return 0;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const sleeper = { untilMs: this.nowMs + ms, wake: resolve };
      this.sleepers.add(sleeper);
      signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
    });
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const sleeper of this.sleepers) {
      if (sleeper.untilMs > this.nowMs) continue;
      this.sleepers.delete(sleeper);
      sleeper.wake();
    }
  }
}

const request: OriginRequest = { url: "http://origin.test/file", header: {} };
const refused = (): OriginError =>
  new OriginError("ERR_ORIGIN_UNREACHABLE", "Cannot read: ECONNREFUSED", {
    cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
  });

const busy = (retryAfter: string): OriginError =>
  new OriginError("ERR_ORIGIN_STATUS", "Cannot read: origin answered 503", {
    answer: { statusCode: 503, reason: "", responseHeader: { "retry-after": retryAfter } },
  });

describe("OriginGuard", () => {
  it("takes a date that an origin names by the machine's clock, and counts what is left of it by one that nobody sets", async () => {
    const clock = new ManualClock();
    clock.aheadMs = Date.parse("2026-01-01T00:00:00Z") - clock.nowMs;
    const guard = new OriginGuard({ clock });
    let requestCount = 0;
    const asking = guard.ask(request, async () => {
      requestCount += 1;
      if (requestCount === 1) throw busy("Thu, 01 Jan 2026 00:00:30 GMT");
      return "file";
    });
    await expect.poll(() => clock.sleepers.size).toBe(1);
    clock.aheadMs -= 3_600_000;
    clock.pass(30_000);
    expect(await asking).toBe("file");
  });

  it("holds nobody back for longer when the machine's clock is set back", async () => {
    vi.useFakeTimers();
    try {
      const guard = new OriginGuard();
      guard.noteFailure(request, refused());
      expect(guard.mayAsk(request)).toBe(false);
      vi.setSystemTime(Date.now() - 3_600_000);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(guard.mayAsk(request)).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it("has one budget for all parts of a file, not one each", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { status: 500 } } });
    const results = await readParts(fixture);
    for (const result of results)
      expect(faultOf(result)).toMatchObject({ code: expect.stringMatching(/STATUS|SUSPENDED/) });
    // Eight at once, then one at a time: three more tries each would have made it 32.
    expect(fixture.server.requests.length).toBeLessThanOrEqual(8 + 7);
  });

  it("asks for none of the parts before the time that the answer to one of them names", async () => {
    const clock = new ManualClock();
    const guard = new OriginGuard({ clock });
    let requestCount = 0;
    const work = async (): Promise<string> => {
      requestCount += 1;
      const isEarly = requestCount <= 8;
      await settle();
      if (isEarly) throw busy("30");
      return "part";
    };
    const asking = Array.from({ length: 8 }, () => guard.ask(request, work));
    await expect.poll(() => clock.sleepers.size).toBe(8);
    clock.pass(29_999);
    await settle();
    expect(requestCount).toBe(8);
    clock.pass(1);
    expect(await Promise.all(asking)).toEqual(Array.from({ length: 8 }, () => "part"));
    expect(requestCount).toBe(16);
  });

  it("makes one pause after bodies that are cut off, longer each time, and has the file in the end", async () => {
    await using fixture = await openOriginFixture();
    fixture.server.set("/file", failing(8, { content, cutAfterBytes: 5000 }));
    const first = await readParts(fixture);
    for (const result of first)
      expect(faultOf(result)).toMatchObject({ code: "ERR_ORIGIN_TRUNCATED" });
    expect(fixture.waits).toEqual([]);
    expect(isWhole(await readParts(fixture))).toBe(true);
    expect(new Set(fixture.waits)).toEqual(new Set([200]));
  });

  it("refuses at once what a host that fails again and again is asked, and says when it is asked again", async () => {
    await using fixture = await openOriginFixture();
    const dead = await openOriginServer();
    await dead[Symbol.asyncDispose]();
    const stat = async (path: string): Promise<unknown> =>
      await fixture.origin
        .stat({ url: `${dead.url}/${path}`, header: {} })
        .catch((e: unknown) => e);
    const errors: unknown[] = [];
    for (let count = 0; count < 6; count += 1) errors.push(await stat(String(count)));
    expect(errors[0]).toMatchObject({ code: "ERR_ORIGIN_UNREACHABLE" });
    const waitCount = fixture.waits.length;
    const last = await stat("last");
    expect(last).toMatchObject({
      code: "ERR_ORIGIN_SUSPENDED",
      message: expect.stringMatching(
        new RegExp(
          `^Cannot read ${dead.url}/last: ${dead.url} has failed \\d+ times in a row, last: [^/]*ECONNREFUSED[^/]*; it is asked again in \\d+ s$`,
        ),
      ),
      retryAtMs: expect.any(Number),
    });
    expect(fixture.waits).toHaveLength(waitCount);
    expect(fixture.guard.report()).toMatchObject({
      openedCount: 1,
      hosts: [{ origin: dead.url, state: "open" }],
    });
    // Others are served as if nothing were wrong.
    fixture.server.set("/file", { content });
    expect(isWhole(await readParts(fixture))).toBe(true);
    expect(fixture.waits).toHaveLength(waitCount);
  });

  it("lets nobody suffer for a URL that somebody mistypes again and again", async () => {
    await using fixture = await openOriginFixture();
    const { origin, server } = fixture;
    for (let count = 0; count < 50; count += 1) {
      const wrong = origin.stat({ url: `${server.url}/no-such-file`, header: {} });
      await expect(wrong).rejects.toMatchObject({ statusCode: 404 });
    }
    server.set("/file", { content });
    expect(isWhole(await readParts(fixture))).toBe(true);
    expect(fixture.waits).toEqual([]);
  });

  it("lets one try when the time has come, and all the others as soon as that is answered", async () => {
    const clock = new ManualClock();
    const guard = new OriginGuard({ clock, limits: { maxRetries: 0 } });
    await expect(guard.ask(request, () => Promise.reject(refused()))).rejects.toThrow("REFUSED");
    let running = 0;
    const answers: (() => void)[] = [];
    const work = async (): Promise<string> => {
      running += 1;
      await new Promise<void>((resolve) => answers.push(resolve));
      return "file";
    };
    const asking = Array.from({ length: 5 }, () => guard.ask(request, work));
    await expect.poll(() => clock.sleepers.size).toBe(5);
    clock.pass(199);
    expect(running).toBe(0);
    clock.pass(1);
    await expect.poll(() => running).toBe(1);
    answers[0]?.();
    await expect.poll(() => running).toBe(5);
    for (const answer of answers) answer();
    expect(await Promise.all(asking)).toEqual(["file", "file", "file", "file", "file"]);
    expect(guard.report().hosts).toMatchObject([{ state: "closed", failureCount: 0 }]);
  });

  it("has nobody wait for one try after the other of what takes its time to fail", async () => {
    const clock = new ManualClock();
    const guard = new OriginGuard({ clock, limits: { maxRetries: 0 } });
    await expect(guard.ask(request, () => Promise.reject(refused()))).rejects.toThrow("REFUSED");
    clock.pass(200);
    const tries: (() => void)[] = [];
    const work = async (): Promise<never> => {
      await new Promise<void>((resolve) => tries.push(resolve));
      throw refused();
    };
    const asking = Array.from({ length: 3 }, () =>
      guard.ask(request, work).catch((e: unknown) => e),
    );
    await settle();
    expect(tries).toHaveLength(1);
    clock.pass(20_000);
    tries[0]?.();
    expect(await asking[0]).toMatchObject({ code: "ERR_ORIGIN_UNREACHABLE" });
    await settle();
    for (const waiting of asking.slice(1)) {
      expect(await waiting).toMatchObject({
        code: "ERR_ORIGIN_SUSPENDED",
        message: expect.stringContaining("http://origin.test has failed 2 times in a row"),
      });
    }
    expect(tries).toHaveLength(1);
  });

  it("tells whoever asks, and whoever watches the same file, why they wait and how long", async () => {
    await using fixture = await openOriginFixture();
    const { origin, guard, server } = fixture;
    const answer = { status: 503, header: { "retry-after": "7" } };
    server.set("/file", (_request, earlierCount) => (earlierCount < 1 ? answer : { content }));
    const told: OriginWait[] = [];
    const watched: OriginWait[] = [];
    const asked = { url: `${server.url}/file`, header: {} };
    const stop = guard.watch(asked, (wait) => watched.push(wait));
    guard.watch({ ...asked, url: `${server.url}/other` }, () => expect.unreachable());
    await origin.stat(asked, { onWait: (wait) => told.push(wait) });
    expect(told).toEqual([
      {
        kind: "asked",
        waitMs: 7000,
        attempt: 1,
        reason: expect.stringContaining("origin answered 503 Service Unavailable, Retry-After: 7"),
      },
    ]);
    expect(watched).toEqual(told);
    stop();
    server.set("/file", failing(3, answer));
    await origin.stat(asked);
    expect(watched).toHaveLength(1);
  });

  it("knows who may be asked without a wait, and holds back all others after those who were, in vain", async () => {
    const clock = new ManualClock();
    const guard = new OriginGuard({ clock, limits: { maxRetries: 0 } });
    expect(guard.mayAsk(request)).toBe(true);
    guard.noteFailure(request, refused());
    expect(guard.mayAsk(request)).toBe(false);
    expect(guard.mayAsk({ ...request, url: "http://other.test/file" })).toBe(true);
    clock.pass(200);
    expect(guard.mayAsk(request)).toBe(true);
    // What is nobody's fault is held against nobody.
    guard.noteFailure(request, new Error("the download has ended"));
    expect(guard.mayAsk(request)).toBe(true);
  });

  it("does not say so of one that is heard, however long it takes", async () => {
    const guard = new OriginGuard({ limits: { silenceMs: 1 } });
    await guard.ask(
      request,
      async (_tryNumber, heard) => {
        heard();
        await settle();
        await new Promise((resolve) => setTimeout(resolve, 2)); // longer than the timer that was stopped
      },
      { onWait: () => expect.unreachable() },
    );
    expect(guard.report().waitCount).toBe(0);
  });

  it("tells that an origin says nothing", async () => {
    const guard = new OriginGuard({ limits: { silenceMs: 1 } });
    let answer: () => void = () => {};
    const silent = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await guard.ask(request, () => silent, {
      onWait: (wait) => {
        expect(wait).toMatchObject({ kind: "silent", waitMs: 0 });
        answer();
      },
    });
    expect(guard.report().waitCount).toBe(1);
  });

  it("waits for nothing any more when whoever asks has gone, or when it is closed", async () => {
    const guard = new OriginGuard({ clock: SYSTEM_CLOCK, limits: { maxRetries: 0 } });
    const work = (): Promise<never> => Promise.reject(busy("60"));
    const abort = new AbortController();
    const reason = new Error("user pressed ctrl-c");
    const left = guard.ask(request, work, {
      signal: abort.signal,
      onWait: () => abort.abort(reason),
    });
    await expect(left).rejects.toBe(reason);
    await expect(guard.ask(request, work, { signal: abort.signal })).rejects.toBe(reason);
    const closed = guard.ask(request, work, { onWait: () => guard.close() });
    await expect(closed).rejects.toMatchObject({ code: "ERR_ORIGIN_SUSPENDED" });
  });

  it("lets the next one try when the one that tried has been told to stop", async () => {
    const clock = new ManualClock();
    const guard = new OriginGuard({ clock, limits: { maxRetries: 0 } });
    await expect(guard.ask(request, () => Promise.reject(refused()))).rejects.toThrow("REFUSED");
    clock.pass(200);
    let giveUp: (reason: Error) => void = () => {};
    const trying = guard.ask(
      request,
      () =>
        new Promise<never>((_, reject) => {
          giveUp = reject;
        }),
    );
    const next = guard.ask(request, () => Promise.resolve("file"));
    await settle();
    giveUp(new Error("gone"));
    await expect(trying).rejects.toThrow("gone");
    expect(await next).toBe("file");
  });
});
