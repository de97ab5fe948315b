import { FakeClock } from "@damselfly/limits/testing";
import type { PieceRecord } from "@damselfly/storage";
import { beforeEach, describe, expect, it } from "vitest";
import { LocalContent, type CallContent } from "./local-content.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();

let clock: FakeClock;
let readCount: number;

beforeEach(() => {
  clock = new FakeClock();
  readCount = 0;
});

const task = {
  async readPiece(pieceNumber: number) {
    readCount += 1;
    return new Uint8Array(pieceNumber);
  },
};

/** The fake below knows its length by its number. */
const piece = (length: number): PieceRecord => ({
  number: length,
  offset: 0,
  length,
  digest: "crc32:0",
  trafficType: "LOCAL_PEER",
  parentId: "",
  costMs: 0,
  createdAtMs: 0,
});

/** A caller that takes what it was sent when it is told to. */
function openCall(local: LocalContent): {
  readonly contents: CallContent;
  readonly take: () => void;
} {
  let waiting: (() => void)[] = [];
  const contents = local.openCall(() => new Promise<void>((resolve) => waiting.push(resolve)));
  const take = (): void => {
    for (const resolve of waiting) resolve();
    waiting = [];
  };
  return { contents, take };
}

describe("LocalContent", () => {
  it("keeps the last two pieces of a call in mind, until they are taken", async () => {
    const local = new LocalContent(100 * MIB, clock);
    const { contents, take } = openCall(local);
    for (let count = 0; count < 10; count += 1) {
      expect(await contents.read(task, piece(MIB), signal)).toHaveLength(MIB);
      expect(local.usedLength).toBe(2 * MIB * Math.min(2, count + 1));
    }
    contents[Symbol.dispose]();
    await clock.pass(0);
    expect(local.usedLength).toBe(4 * MIB);
    take();
    await clock.pass(0);
    expect(local.usedLength).toBe(0);
  });

  it("keeps nothing in mind for a piece that could not be read, and what came before until it is taken", async () => {
    const local = new LocalContent(100 * MIB, clock);
    const { contents, take } = openCall(local);
    const damaged = { readPiece: () => Promise.reject(new Error("damaged")) };
    await contents.read(task, piece(MIB), signal);
    for (let count = 0; count < 3; count += 1) {
      await expect(contents.read(damaged, piece(8 * MIB), signal)).rejects.toThrow("damaged");
      expect(local.usedLength).toBe(2 * MIB);
    }
    await contents.read(task, piece(MIB), signal);
    expect(local.usedLength).toBe(4 * MIB);
    contents[Symbol.dispose]();
    take();
    await clock.pass(0);
    expect(local.usedLength).toBe(0);
  });

  it("reads nothing more while there is no memory, and goes on when others have taken theirs", async () => {
    const local = new LocalContent(4 * MIB, clock);
    const [first, second] = [openCall(local), openCall(local)];
    await first.contents.read(task, piece(MIB), signal);
    await second.contents.read(task, piece(MIB), signal);
    // Both want one more: whoever has taken what it had gets it.
    const waiting = [first, second].map((call) => call.contents.read(task, piece(MIB), signal));
    await clock.pass(10_000);
    expect(readCount).toBe(2);
    second.take();
    await waiting[1];
    expect(readCount).toBe(3);
    first.take();
    await waiting[0];
    expect(readCount).toBe(4);
    expect(local.usedLength).toBe(4 * MIB);
  });

  it("says what is wrong when programs take nothing for a minute, to a hundred callers too", async () => {
    const local = new LocalContent(4 * MIB, clock);
    const held = openCall(local);
    await held.contents.read(task, piece(2 * MIB), signal);
    const calls = Array.from({ length: 100 }, () => openCall(local));
    const failing = Promise.allSettled(
      calls.map(({ contents, take }) => {
        const reading = contents.read(task, piece(MIB), signal);
        take();
        return reading;
      }),
    );
    await clock.pass(60_000);
    for (const outcome of await failing) {
      expect(outcome).toMatchObject({
        reason: {
          code: "RESOURCE_EXHAUSTED",
          message: expect.stringContaining("dataPlane.memoryLimit"),
        },
      });
    }
    expect(readCount).toBe(1);
    held.contents[Symbol.dispose]();
    held.take();
    await clock.pass(0);
    await openCall(local).contents.read(task, piece(2 * MIB), signal);
  });

  it("hands on a piece that is longer than all there is, alone", async () => {
    const local = new LocalContent(MIB, clock);
    const { contents, take } = openCall(local);
    await contents.read(task, piece(8 * MIB), signal);
    const next = contents.read(task, piece(8 * MIB), signal);
    await clock.pass(1);
    expect(readCount).toBe(1);
    take();
    expect(await next).toHaveLength(8 * MIB);
  });

  it("does not wait for a caller that has left", async () => {
    const local = new LocalContent(MIB, clock);
    const controller = new AbortController();
    await openCall(local).contents.read(task, piece(MIB), signal);
    const { contents, take } = openCall(local);
    const waiting = contents.read(task, piece(MIB), controller.signal);
    controller.abort(new Error("the caller left"));
    await expect(waiting).rejects.toThrow("the caller left");
    take();
    await expect(contents.read(task, piece(MIB), controller.signal)).rejects.toThrow(
      "the caller left",
    );
  });
});
