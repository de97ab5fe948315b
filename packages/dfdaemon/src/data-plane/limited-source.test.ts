import { ByteBudget, RateLimit } from "@damselfly/limits";
import { FakeClock } from "@damselfly/limits/testing";
import type { PieceReader } from "@damselfly/transport";
import { codeOf, createGate, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { describe, expect, it } from "vitest";
import { LimitedSource } from "./limited-source.ts";

const MIB = 1024 * 1024;

function create({ memoryLength = 100 * MIB, rate = Infinity, clock = new FakeClock() } = {}) {
  const source = new SyntheticSource();
  const serving = new ByteBudget(memoryLength);
  const upload = new RateLimit(rate, clock);
  const limits = { serving, servingLengthMax: memoryLength, upload, clock };
  return { source, serving, clock, limited: new LimitedSource(source, limits) };
}

describe("LimitedSource", () => {
  it("serves every byte of a piece, and of a range of it", async () => {
    const { source, limited, serving } = create();
    const request = source.add(0, { length: 3_000_000 });
    expect(await readPiece(await limited.openPiece(request))).toBe(3_000_000);
    const range = { offset: 1_000, length: 500 };
    expect(await readPiece(await limited.openPiece({ ...request, range }), undefined, 1_000)).toBe(
      500,
    );
    await source.untilFree();
    expect(serving.usedLength).toBe(0);
  });

  it("answers one as busy for which there is no memory, and a hundred, and opens none of them", async () => {
    const { source, limited } = create({ memoryLength: 2 * MIB });
    const request = source.add(0, { length: 64 * MIB });
    const held: PieceReader[] = [
      await limited.openPiece(request),
      await limited.openPiece(request),
    ];
    for (let count = 0; count < 100; count += 1) {
      expect(await codeOf(limited.openPiece(request))).toBe("ERR_PARENT_BUSY");
    }
    expect(source.requestCount).toBe(2);
    await held[0]?.[Symbol.asyncDispose]();
    await held[0]?.[Symbol.asyncDispose]();
    held.push(await limited.openPiece(request));
    expect(await codeOf(limited.openPiece(request))).toBe("ERR_PARENT_BUSY");
    for (const reader of held) await reader[Symbol.asyncDispose]();
    await source.untilFree();
  });

  it("takes no more for short pieces than they are long, and nothing for those that are still to come", async () => {
    const { source, limited, serving } = create({ memoryLength: 2 * MIB });
    const arrival = createGate();
    const late = source.add(1, { length: 64 * MIB, arrival: arrival.opened });
    const opening = Array.from({ length: 50 }, () => limited.openPiece(late));
    const request = source.add(0, { length: 1_000 });
    const readers = [];
    for (let count = 0; count < 100; count += 1) readers.push(await limited.openPiece(request));
    expect(serving.usedLength).toBe(100 * 2 * 1_000);
    for (const reader of readers) await reader[Symbol.asyncDispose]();
    arrival.open();
    const outcomes = await Promise.allSettled(opening);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") await outcome.value[Symbol.asyncDispose]();
    }
    await source.untilFree();
    expect(serving.usedLength).toBe(0);
  });

  it("cuts off the child that has taken nothing for longest, if that is long, when there is no memory for another one", async () => {
    const { source, limited, clock } = create({ memoryLength: 2 * MIB });
    const request = source.add(0, { length: 64 * MIB, chunkLength: 512 * 1024 });
    const [first, second] = [await limited.openPiece(request), await limited.openPiece(request)];
    const chunks = first.content[Symbol.asyncIterator]();
    await clock.pass(9_999);
    expect(await codeOf(limited.openPiece(request))).toBe("ERR_PARENT_BUSY");
    await chunks.next();
    await clock.pass(1);
    const third = await limited.openPiece(request);
    expect(second.reclaimed?.reason).toMatchObject({ code: "ERR_PARENT_STALLED" });
    expect(first.reclaimed?.aborted).toBe(false);
    // One that takes a chunk now and then is left alone, however slow it is.
    const opened = [first, second, third];
    for (let count = 0; count < 50; count += 1) {
      await chunks.next();
      await clock.pass(9_000);
      await limited.openPiece(request).then(
        (reader) => opened.push(reader),
        () => undefined,
      );
    }
    expect(opened.length).toBeGreaterThan(20);
    expect(first.reclaimed?.aborted).toBe(false);
    for (const reader of opened) await reader[Symbol.asyncDispose]();
  });

  it("gives no more than half of the memory to one address", async () => {
    const { source, limited, clock, serving } = create({ memoryLength: 8 * MIB });
    const request = source.add(0, { length: 64 * MIB });
    const open = (childIp: string): Promise<PieceReader> => limited.openPiece(request, { childIp });
    const held: PieceReader[] = [];
    for (let count = 0; count < 4; count += 1) held.push(await open("192.0.2.1"));
    for (let count = 0; count < 100; count += 1)
      expect(await codeOf(open("192.0.2.1"))).toBe("ERR_PARENT_BUSY");
    for (let count = 0; count < 4; count += 1) held.push(await open(`192.0.2.${2 + count}`));
    expect(await codeOf(open("192.0.2.9"))).toBe("ERR_PARENT_BUSY");
    await clock.pass(10_000);
    // Its own pieces make room, not those of others that are idle as long.
    held.push(await open("192.0.2.1"));
    expect(held.map(({ reclaimed }) => reclaimed?.aborted)).toEqual([
      true,
      ...Array(8).fill(false),
    ]);
    for (const reader of held) await reader[Symbol.asyncDispose]();
    expect(serving.usedLength).toBe(0);
  });

  it("gives the room back when a piece is not there, or cannot be read", async () => {
    const { source, limited, serving } = create({ memoryLength: MIB });
    source.add(0, { length: 10, refusal: new Error("EIO") });
    const broken = source.add(1, { length: 1_000_000, failAt: 1_000 });
    const taskId = "f".repeat(64);
    expect(await codeOf(limited.openPiece({ taskId, pieceNumber: 0 }))).toBe("ERR_PIECE_NOT_FOUND");
    await expect(limited.openPiece({ ...broken, pieceNumber: 0 })).rejects.toThrow("EIO");
    const reader = await limited.openPiece(broken);
    await expect(readPiece(reader)).rejects.toThrow();
    await reader[Symbol.asyncDispose]();
    expect(serving.usedLength).toBe(0);
  });

  it("holds all pieces together to the rate, and lets go of one that is given up while it waits", async () => {
    const { source, limited, clock } = create({ rate: 1_000_000 });
    const request = source.add(0, { length: 64 * MIB, chunkLength: 512 * 1024 });
    const lengths = [0, 0, 0];
    const controllers = lengths.map(() => new AbortController());
    const reading = lengths.map(async (_, index) => {
      const { signal } = controllers[index]!;
      const reader = await limited.openPiece(request, { signal });
      for await (const { byteLength } of reader.content) lengths[index]! += byteLength;
    });
    await clock.pass(10_000);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    expect(total / 10_000_000).toBeCloseTo(1, 1);
    expect(Math.max(...lengths) / Math.min(...lengths)).toBeLessThan(1.1);
    for (const controller of controllers) controller.abort(new Error("the child has gone"));
    for (const outcome of await Promise.allSettled(reading)) {
      expect(outcome).toMatchObject({ reason: { message: "the child has gone" } });
    }
    await source.untilFree();
  });
});
