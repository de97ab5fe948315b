import { describe, expect, it } from "vitest";
import { BufferPool } from "./buffer-pool.ts";
import { readContent } from "./read-content.ts";
import type { TaskContent } from "./task-content.ts";

/** Of a file of 10 bytes where 100 should be, and of which stat says nothing new: `reads` counts the attempts. */
function tornContent(): { readonly content: TaskContent; readonly reads: () => number } {
  let reads = 0;
  const handle = {
    async read(_buffer: Uint8Array, _offset: number, length: number, position: number) {
      reads += 1;
      return { bytesRead: Math.max(0, Math.min(length, 10 - position)) };
    },
  };
  const content = {
    epoch: 1,
    async check() {},
    async acquire() {
      return { handle, release() {} };
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that is used of it
  return { content: content as unknown as TaskContent, reads: () => reads };
}

describe("readContent", () => {
  it("gives up on a file that is shorter than it should be, with nothing that shows why", async () => {
    const { content, reads } = tornContent();
    const pool = new BufferPool({ length: 64, idleCountMax: 1 });
    const chunks = readContent(content, { offset: 0, length: 100 }, { pool, assertPresent() {} });
    await expect(chunks.next()).rejects.toMatchObject({
      code: "ERR_IO",
      message: expect.stringContaining("ends after 10 bytes, expected were 100"),
    });
    expect(reads()).toBeLessThan(20);
  });
});
