import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { createDescriptorStream } from "./descriptor-stream.ts";

describe("createDescriptorStream", () => {
  it("writes on where the descriptor stands, every byte, and leaves it open", async () => {
    const directory = await mkdtemp(join(tmpdir(), "damselfly-descriptor-"));
    try {
      await using file = await open(join(directory, "file"), "w");
      await file.write("before, ");
      const stream = createDescriptorStream(file.fd);
      stream.write("one, ");
      stream.write(new Uint8Array(0));
      stream.end(Buffer.alloc(3_000_000, "x"));
      await finished(stream);
      await file.write(" after");
      const written = await readFile(join(directory, "file"), "utf8");
      expect(written).toBe(`before, one, ${"x".repeat(3_000_000)} after`);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("fails with what the system says", async () => {
    const stream = createDescriptorStream(0x7fff_ffff);
    stream.end("x");
    await expect(finished(stream)).rejects.toMatchObject({ code: "EBADF" });
  });
});
