import { createHash } from "node:crypto";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { BufferPool } from "./buffer-pool.ts";
import { ContentWriter } from "./content-writer.ts";

const LENGTH = 100;
const pool = new BufferPool({ length: LENGTH, idleCountMax: 8 });
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-writer-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("ContentWriter", () => {
  it("writes the same bytes however they are cut, and keeps no chunk", async () => {
    const path = join(directory, "cut");
    const handle = await open(path, "w+");
    const lengths = fc.array(fc.integer({ min: 0, max: 3 * LENGTH }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.nat(500), async (cuts, position) => {
        await handle.truncate(0);
        const hash = createHash("sha256");
        const writer = new ContentWriter({ handle, pool, position, action: "write" });
        for (const [index, length] of cuts.entries()) {
          const chunk = Buffer.alloc(length, index + 1);
          hash.update(chunk);
          const written = writer.write(chunk);
          if (written !== undefined) await written;
          chunk.fill(0); // It is ours again.
        }
        await writer.flush();
        await writer[Symbol.asyncDispose]();
        const found = (await readFile(path)).subarray(position);
        expect(createHash("sha256").update(found).digest("hex")).toBe(hash.digest("hex"));
      }),
      { numRuns: 50 },
    );
    await handle.close();
  });

  it("has nothing to wait for while there is room in its buffer", async () => {
    const handle = await open(join(directory, "room"), "w+");
    const writer = new ContentWriter({ handle, pool, position: 0, action: "write" });
    expect(writer.write(Buffer.alloc(LENGTH - 1))).toBeUndefined();
    await writer.write(Buffer.alloc(LENGTH + 1));
    await writer.flush();
    expect((await handle.stat()).size).toBe(2 * LENGTH);
    await writer[Symbol.asyncDispose]();
    await handle.close();
  });

  it("says what failed, at the latest when it is flushed", async () => {
    const path = join(directory, "read-only");
    await (await open(path, "w")).close();
    const handle = await open(path, "r");
    const writer = new ContentWriter({ handle, pool, position: 0, action: "write piece 3" });
    await writer.write(Buffer.alloc(10));
    await expect(writer.flush()).rejects.toMatchObject({
      name: "StorageError",
      message: expect.stringContaining("write piece 3"),
    });
    await writer[Symbol.asyncDispose]();
    await handle.close();
  });
});
