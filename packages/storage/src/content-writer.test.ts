import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { BufferPool } from "./buffer-pool.ts";
import { ContentWriter } from "./content-writer.ts";
import { Serial } from "./serial.ts";

const pool = new BufferPool({ length: 1000, idleCountMax: 8 });
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-writer-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("the ContentWriters of one file", () => {
  it("write one buffer at a time, each to its place", async () => {
    const path = join(directory, "turns");
    const handle = await open(path, "w+");
    let running = 0;
    let most = 0;
    const write = handle.write.bind(handle);
    vi.spyOn(handle, "write").mockImplementation(async (...args: Parameters<typeof write>) => {
      most = Math.max(most, ++running);
      try {
        return await write(...args);
      } finally {
        running--;
      }
    });
    const turns = new Serial();
    await Promise.all(
      [0, 1, 2, 3].map(async (number) => {
        const options = { handle, pool, position: number * 5500, action: "write", turns };
        await using writer = new ContentWriter(options);
        for (let count = 0; count < 10; count++) await writer.write(Buffer.alloc(550, number));
        await writer.flush();
      }),
    );
    await handle.close();
    expect(most).toBe(1);
    const expected = Buffer.concat([0, 1, 2, 3].map((number) => Buffer.alloc(5500, number)));
    expect((await readFile(path)).equals(expected)).toBe(true);
  });

  it("do not suffer from each other's failures", async () => {
    const handle = await open(join(directory, "failures"), "w+");
    const turns = new Serial();
    const failing = await open(join(directory, "failures"), "r");
    const shared = { pool, position: 0, action: "write", turns };
    await using bad = new ContentWriter({ ...shared, handle: failing });
    await using good = new ContentWriter({ ...shared, handle });
    await bad.write(Buffer.alloc(10));
    await good.write(Buffer.alloc(10));
    await expect(Promise.all([bad.flush(), good.flush()])).rejects.toMatchObject({
      name: "StorageError",
    });
    await good.flush();
    expect((await handle.stat()).size).toBe(10);
    await failing.close();
    await handle.close();
  });
});
