import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { limitContent } from "./limit-content.ts";
import { RateLimit } from "./rate-limit.ts";
import { FakeClock } from "./testing.ts";

const KIB = 1024;
let clock: FakeClock;

beforeEach(() => {
  clock = new FakeClock();
});

/** A transfer that always has more; says how much went. */
function transferOver(
  limit: RateLimit,
  chunkLength = 512 * KIB,
): { length: number; leave: () => void } {
  const left = new AbortController();
  const transfer = { length: 0, leave: () => left.abort(new Error("left")) };
  const content = (async function* () {
    const chunk = new Uint8Array(chunkLength);
    for (;;) yield chunk;
  })();
  void (async () => {
    for await (const part of limitContent(content, limit, { signal: left.signal })) {
      transfer.length += part.byteLength;
      await Promise.resolve(); // whoever takes it has something to do with it
    }
  })().catch(() => undefined);
  return transfer;
}

describe("RateLimit", () => {
  it.each([
    ["far below a chunk", 10 * KIB],
    ["of half a chunk", 256 * KIB],
    ["of many chunks", 100 * KIB * KIB],
  ])("keeps to a rate %s, second for second and in each tenth of one", async (_, rate) => {
    const limit = new RateLimit(rate, clock);
    const transfer = transferOver(limit);
    await clock.pass(1);
    expect(transfer.length).toBeLessThanOrEqual(Math.max(KIB, rate / 10) + rate / 1000 + KIB);
    let before = transfer.length;
    for (let tenth = 0; tenth < 50; tenth += 1) {
      await clock.pass(100);
      // A grant may fall into this tenth or the next.
      expect(Math.abs(transfer.length - before - rate / 10)).toBeLessThanOrEqual(rate / 10 + KIB);
      before = transfer.length;
    }
    expect(transfer.length / (rate * 5)).toBeGreaterThan(0.97);
    expect(transfer.length / (rate * 5)).toBeLessThan(1.05);
    transfer.leave();
  });

  it("gives everybody about the same, however many there are and whatever their chunks", async () => {
    const rate = 1_000 * KIB;
    const limit = new RateLimit(rate, clock);
    const transfers = Array.from({ length: 100 }, (_, index) =>
      transferOver(limit, index % 2 === 0 ? 16 * KIB : 1024 * KIB),
    );
    await clock.pass(1_000);
    const before = transfers.map(({ length }) => length); // the first had more, while they were few
    await clock.pass(20_000);
    const lengths = transfers.map(({ length }, index) => length - before[index]!);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    expect(total / (rate * 20)).toBeGreaterThan(0.97);
    expect(total / (rate * 20)).toBeLessThan(1.02);
    expect(Math.max(...lengths) / Math.min(...lengths)).toBeLessThan(1.05);
    for (const transfer of transfers) transfer.leave();
  });

  it("lets each of many move in little time, also at a small rate", async () => {
    const limit = new RateLimit(64 * KIB, clock);
    const transfers = Array.from({ length: 200 }, () => transferOver(limit));
    await clock.pass(4_000);
    expect(transfers.filter(({ length }) => length === 0)).toEqual([]);
    for (const transfer of transfers) transfer.leave();
  });

  it("saves no more than a tenth of a second's worth for later", async () => {
    const limit = new RateLimit(1_000 * KIB, clock);
    await clock.pass(3_600_000);
    const transfer = transferOver(limit);
    await clock.pass(0);
    expect(transfer.length).toBeLessThanOrEqual(101 * KIB);
    transfer.leave();
  });

  it("can be set to another rate, also for those who wait, and to none", async () => {
    const limit = new RateLimit(KIB, clock);
    const transfer = transferOver(limit);
    await clock.pass(10_000);
    expect(transfer.length).toBeLessThan(13 * KIB);
    const before = transfer.length;
    limit.setRate(1_000 * KIB);
    await clock.pass(1_000);
    expect(transfer.length - before).toBeGreaterThan(950 * KIB);
    expect(transfer.length - before).toBeLessThan(1_110 * KIB);
    transfer.leave();
    await clock.pass(1_000);
    const [free] = [new RateLimit(KIB, clock)];
    const waiting = Promise.all([free.take(KIB), free.take(50 * KIB), free.take(70 * KIB)]);
    free.setRate(Infinity);
    expect(await waiting).toEqual([KIB, 50 * KIB, 70 * KIB]);
    expect(clock.waitingCount).toBe(0);
  });

  it("is nothing where there is none: every chunk goes as it is, at once", async () => {
    const limit = new RateLimit(Infinity, clock);
    const chunks = [new Uint8Array(10), new Uint8Array(0), new Uint8Array(1_000_000)];
    const passed: Uint8Array[] = [];
    for await (const chunk of limitContent(iterate(chunks), limit)) passed.push(chunk);
    expect(passed.every((chunk, index) => chunk === chunks[index])).toBe(true);
    expect(limit.take(2 ** 40)).toBe(2 ** 40);
  });

  it("forgets who gives up, and lets others have its turn", async () => {
    const limit = new RateLimit(KIB, clock);
    expect(limit.take(KIB)).toBe(KIB);
    const controller = new AbortController();
    const given = limit.take(KIB, controller.signal);
    const next = limit.take(KIB);
    controller.abort(new Error("enough"));
    await expect(given).rejects.toThrow("enough");
    await clock.pass(1_000);
    expect(await next).toBe(KIB);
    expect([limit.waitingCount, clock.waitingCount]).toEqual([0, 0]);
    await expect(limit.take(KIB, AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
  });

  it("never lets more go than its rate and a tenth of a second, whatever is asked", async () => {
    const asks = fc.array(
      fc.record({ pauseMs: fc.nat(200), length: fc.integer({ min: 1, max: 100_000 }) }),
      { minLength: 1, maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(asks, fc.integer({ min: 1, max: 1_000_000 }), async (asked, rate) => {
        const time = new FakeClock();
        const limit = new RateLimit(rate, time);
        let gone = 0;
        for (const { pauseMs, length } of asked) {
          void Promise.resolve(limit.take(length)).then((taken) => {
            expect(taken).toBeGreaterThan(0);
            expect(taken).toBeLessThanOrEqual(length);
            gone += taken;
          });
          await time.pass(pauseMs);
          const most = Math.max(KIB, rate / 10) + (time.now() / 1000) * rate;
          expect(gone).toBeLessThanOrEqual(most + 1);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("limitContent", () => {
  it("passes every byte in order, in parts of the chunks", async () => {
    const limit = new RateLimit(10 * KIB, clock);
    const bytes = Uint8Array.from({ length: 20 * KIB }, (_, index) => index * 7);
    const reading = (async () => {
      const parts: Uint8Array[] = [];
      const chunks = [bytes.subarray(0, 15_000), bytes.subarray(15_000)];
      for await (const part of limitContent(iterate(chunks), limit)) parts.push(part.slice());
      return Buffer.concat(parts);
    })();
    await clock.pass(3_000);
    expect((await reading).equals(bytes)).toBe(true);
  });

  it("closes the content when it is left, also while it waits, and throws what it throws", async () => {
    const limit = new RateLimit(1, clock);
    let isClosed = false;
    const content = (async function* () {
      try {
        for (;;) yield new Uint8Array(2_000);
      } finally {
        isClosed = true;
      }
    })();
    let endCount = 0;
    const limited = limitContent(content, limit, { onEnd: () => (endCount += 1) });
    expect((await limited.next()).value?.byteLength).toBe(KIB);
    const pending = limited.next();
    pending.catch(() => undefined);
    await limited.return?.();
    await expect(pending).rejects.toThrow("left");
    expect([isClosed, endCount, limit.waitingCount]).toEqual([true, 1, 0]);

    const broken = (async function* (): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1);
      throw new Error("EIO");
    })();
    await expect(drain(limitContent(broken, new RateLimit(Infinity)))).rejects.toThrow("EIO");
  });
});

async function* iterate(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function drain(content: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of content);
}
