import { type PieceDownload, createPieceDownload } from "@damselfly/transport";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { cutChunks } from "./cut-chunks.ts";

const STALL_MS = 400;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Bytes 0, 1, 2 and so on, ten at a time, as often as `waitMs` says. */
async function* comeSlowly(count: number, waitMs: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index++) {
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    yield Uint8Array.from({ length: 10 }, (_, at) => 10 * index + at);
  }
}

/** Bytes 85 to 95 of a piece of 100. */
function download(waitMs: number): PieceDownload {
  const range = { offset: 85, length: 10 };
  return createPieceDownload({
    piece: { number: 0, offset: 0, length: 100, digest: "crc32:1" },
    length: range.length,
    hostId: "parent",
    chunks: cutChunks(comeSlowly(10, waitMs), range),
    stallMs: STALL_MS,
    close: () => undefined,
  });
}

async function read(piece: PieceDownload): Promise<readonly number[]> {
  const bytes: number[] = [];
  for await (const chunk of piece.content) {
    expect(chunk.byteLength).toBeGreaterThan(0);
    bytes.push(...chunk);
  }
  return bytes;
}

it("gives what lies in a range, however long bytes come before that", async () => {
  const reading = read(download(STALL_MS - 1));
  await vi.runAllTimersAsync();
  expect(await reading).toEqual([85, 86, 87, 88, 89, 90, 91, 92, 93, 94]);
});

it("leaves it to others to give up on a parent that says nothing", async () => {
  const failing = expect(read(download(STALL_MS + 1))).rejects.toMatchObject({
    code: "ERR_PARENT_STALLED",
  });
  await vi.runAllTimersAsync();
  await failing;
});
