import { FakeClock } from "@damselfly/limits/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { ContentLimits, DEFAULT_CONTENT_LIMITS, type ContentLimitsInit } from "./content-limits.ts";

const MIB = 1024 * 1024;
let clock: FakeClock;

beforeEach(() => {
  clock = new FakeClock();
});

/** Nobody aborts it. */
const idle = (): AbortSignal => new AbortController().signal;

const create = (init: Partial<ContentLimitsInit>): ContentLimits =>
  new ContentLimits({ ...DEFAULT_CONTENT_LIMITS, ...init }, clock);

/** A piece, or a body, of which it is known whether it is open. */
class Content implements AsyncDisposable {
  isOpen = true;
  readonly content = (async function* () {
    const chunk = new Uint8Array(256 * 1024);
    for (;;) yield chunk;
  })();
  async [Symbol.asyncDispose](): Promise<void> {
    this.isOpen = false;
  }
}

describe("ContentLimits", () => {
  it("has pieces wait when there is no memory for them, and go on in their order", async () => {
    // A quarter of it is for what comes: two pieces of 4 MiB, and what is collected of them.
    const limits = create({ memoryLimit: 4 * 12 * MIB });
    const begun: number[] = [];
    const opening = Array.from({ length: 20 }, (_, number) =>
      limits.openPiece(4 * MIB, idle(), async () => {
        begun.push(number);
        return new Content();
      }),
    );
    await clock.pass(0);
    expect(begun).toEqual([0, 1]);
    for (let number = 0; number < 20; number += 1) {
      const piece = await opening[number];
      await piece?.[Symbol.asyncDispose]();
      expect(piece?.opened.isOpen).toBe(false);
      await clock.pass(0);
      expect(begun.length).toBe(Math.min(20, number + 3));
    }
  });

  it("lets others have the room of what is not announced for long, and takes it back then", async () => {
    const limits = create({ memoryLimit: 4 * 6 * MIB });
    let announce: ((piece: Content) => void) | undefined;
    const waiting = limits.openPiece(4 * MIB, idle(), () => {
      return new Promise<Content>((resolve) => (announce = resolve));
    });
    let isOpen = false;
    const other = limits.openPiece(4 * MIB, idle(), async () => {
      isOpen = true;
      return new Content();
    });
    await clock.pass(999);
    expect(isOpen).toBe(false);
    await clock.pass(1);
    expect(isOpen).toBe(true);
    announce?.(new Content());
    const piece = await waiting;
    let isThirdOpen = false;
    const third = limits.openBody(idle(), async () => {
      isThirdOpen = true;
      return new Content();
    });
    await (await other)[Symbol.asyncDispose]();
    await clock.pass(0);
    expect(isThirdOpen).toBe(false);
    await piece[Symbol.asyncDispose]();
    await third;
    expect(isThirdOpen).toBe(true);
  });

  it("gives the room of what cannot be opened back, and of what nobody waits for", async () => {
    const limits = create({ memoryLimit: 4 * 10 * MIB });
    for (let count = 0; count < 50; count += 1) {
      const failing = limits.openPiece(64 * MIB, idle(), () => Promise.reject(new Error("busy")));
      await expect(failing).rejects.toThrow("busy");
    }
    const held = await limits.openPiece(64 * MIB, idle(), async () => new Content());
    const controller = new AbortController();
    const given = limits.openPiece(MIB, controller.signal, async () => new Content());
    controller.abort(new Error("enough"));
    await expect(given).rejects.toThrow("enough");
    await held[Symbol.asyncDispose]();
    await limits.openPiece(64 * MIB, idle(), async () => new Content());
  });

  it("lets a piece through that is longer than all there is, alone", async () => {
    const limits = create({ memoryLimit: 4 * MIB });
    const piece = await limits.openPiece(64 * MIB, idle(), async () => new Content());
    await piece[Symbol.asyncDispose]();
  });

  it("holds parents and origins to rates of their own, which can be set while they go", async () => {
    const limits = create({ downloadRate: 1_000_000, originRate: 100_000 });
    const received = { parent: 0, origin: 0, free: 0 };
    const read = async (name: keyof typeof received, content: AsyncIterable<Uint8Array>) => {
      for await (const { byteLength } of content) received[name] += byteLength;
    };
    const open = async () => new Content();
    void read("parent", (await limits.openPiece(MIB, idle(), open)).content);
    void read("origin", (await limits.openBody(idle(), open)).content);
    await clock.pass(10_000);
    expect(received.parent / 10_000_000).toBeCloseTo(1, 1);
    expect(received.origin / 1_000_000).toBeCloseTo(1, 1);
    const before = received.origin;
    limits.setRates({ uploadRate: Infinity, downloadRate: 1_000, originRate: 500_000 });
    await clock.pass(10_000);
    expect((received.origin - before) / 5_000_000).toBeCloseTo(1, 1);
    expect(limits.moved.originRate).toBe(received.origin);
  });
});
