import { TransportError, type PieceDownload, type PieceRequest } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HedgedPiece } from "./hedged-piece.ts";
import type { Supplier } from "./supplier.ts";

const LENGTH = 1_000;
const WANTED = { taskId: "a".repeat(64), number: 2, offset: 2_000, length: LENGTH };
const NO_ORIGIN = {
  readRange: () => Promise.reject(new Error("nobody is to ask the origin")),
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A piece from parents that announce, and send, when a test says so. */
function openPiece(isPlain: readonly boolean[] = []) {
  const requests: PieceRequest[] = [];
  const announce: (() => void)[] = [];
  const send: ((length: number) => void)[] = [];
  const told: string[] = [];
  let waitedMs = 0;
  const piece = new HedgedPiece({
    wanted: WANTED,
    mayTry: false,
    origin: NO_ORIGIN,
    transports: {
      async downloadPiece(_parent, request): Promise<PieceDownload> {
        const index = requests.push(request) - 1;
        await new Promise<void>((resolve) => (announce[index] = resolve));
        const { number, offset } = WANTED;
        return {
          piece: { number, offset, length: LENGTH, digest: "crc32:1" },
          content: (async function* () {
            for (;;) {
              const length = await new Promise<number>((resolve) => (send[index] = resolve));
              if (length === 0) throw new TransportError("ERR_PIECE_TRUNCATED", "it hung up");
              yield new Uint8Array(length);
            }
          })(),
          async [Symbol.asyncDispose]() {},
        };
      },
    },
    observer: {
      tookOver: (id, { offset, doubled, latestId }) =>
        void told.push(`${id} of ${latestId} from ${offset}, ${doubled} twice`),
      passedOver: (id) => void told.push(`${id} passed over`),
      failed: (id) => void told.push(`${id} failed`),
      waited: (ms) => {
        waitedMs += ms;
      },
      doubled: (length) => void told.push(`${length} again`),
    },
    signal: new AbortController().signal,
    now: () => performance.now(),
  });
  const supplier = (id: number): Supplier => ({
    id,
    kind: "parent",
    address: { hostId: `${id}`, ip: "192.0.2.1", ports: {}, plain: isPlain[id] ?? false },
  });
  return { piece, requests, announce, send, told, supplier, waitedMs: () => waitedMs };
}

describe("HedgedPiece", () => {
  it("tells for how long it is waited for, before and after the announcement, and not while the disk is", async () => {
    const { piece, announce, send, supplier, waitedMs } = openPiece();
    const opening = piece.open(supplier(0));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(waitedMs()).toBe(1_000);
    announce[0]!();
    await opening;
    // Nobody reads.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(waitedMs()).toBe(1_000);
    const content = piece.content[Symbol.asyncIterator]();
    const reading = content.next();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(waitedMs()).toBe(3_000);
    send[0]!(10);
    await reading;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(waitedMs()).toBe(3_000);
    await piece[Symbol.asyncDispose]();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("counts what comes twice: what the first brings until the other announces, all of it from one without ranges", async () => {
    const { piece, requests, announce, send, told, supplier } = openPiece([false, false, true]);
    const opening = piece.open(supplier(0));
    announce[0]!();
    await opening;
    const content = piece.content[Symbol.asyncIterator]();
    const take = async (index: number, length: number): Promise<number> => {
      const reading = content.next();
      await vi.advanceTimersByTimeAsync(0);
      send[index]!(length);
      return (await reading).value?.byteLength ?? 0;
    };
    expect(await take(0, 100)).toBe(100);
    piece.offer(supplier(1));
    expect(await take(0, 50)).toBe(50);
    announce[1]!();
    await vi.advanceTimersByTimeAsync(0);
    expect(await take(1, 60)).toBe(10);
    piece.offer(supplier(2));
    announce[2]!();
    await vi.advanceTimersByTimeAsync(0);
    const rest = content.next();
    for (const length of [100, 50, 30]) {
      await vi.advanceTimersByTimeAsync(0);
      send[2]!(length);
    }
    expect((await rest).value).toHaveLength(20);
    expect(requests.map(({ range }) => range?.offset)).toEqual([undefined, 100, undefined]);
    expect(told).toEqual([
      "0 of 0 from 0, 0 twice",
      "1 of 1 from 150, 50 twice",
      "50 again",
      "2 of 2 from 160, 160 twice",
      "100 again",
      "50 again",
      "10 again",
    ]);
    await piece[Symbol.asyncDispose]();
  });

  it("says who is let go of, and who was named too late", async () => {
    const { piece, requests, announce, send, told, supplier } = openPiece();
    const opening = piece.open(supplier(0));
    announce[0]!();
    await opening;
    const content = piece.content[Symbol.asyncIterator]();
    piece.offer(supplier(1));
    piece.offer(supplier(2));
    await vi.advanceTimersByTimeAsync(0);
    announce[1]!();
    await vi.advanceTimersByTimeAsync(0);
    // The one that has announced it goes on with the next byte.
    piece.offer(supplier(3));
    const reading = content.next();
    await vi.advanceTimersByTimeAsync(0);
    send[1]!(10);
    await reading;
    expect(requests).toHaveLength(3);
    expect(told).toEqual(["0 of 0 from 0, 0 twice", "3 passed over", "1 of 3 from 0, 0 twice"]);
    await piece[Symbol.asyncDispose]();
  });
});
