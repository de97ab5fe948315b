import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createOrderedOutput } from "./ordered-output.ts";
import { openSpillFile, SpillFile } from "./spill-file.ts";
import { CapturedStream, openTemporaryDirectory } from "./testing/fake-daemon.ts";

const { signal } = new AbortController();

describe("createOrderedOutput", () => {
  it("writes the same bytes for any order of pieces, however little it may keep in memory", async () => {
    await using directory = await openTemporaryDirectory();
    const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 12 });
    const order = fc.infiniteStream(fc.nat());
    await fc.assert(
      fc.asyncProperty(pieces, order, fc.nat(60), async (contents, picks, bufferLengthMax) => {
        const target = new CapturedStream({ highWaterMark: 16 });
        await using sink = createOrderedOutput({
          target,
          digest: undefined,
          openSpillFile: () => openSpillFile(directory.path),
          signal,
          bufferLengthMax,
        });
        const waiting = contents.map((bytes, index) => ({
          bytes,
          offset: contents.slice(0, index).reduce((sum, each) => sum + each.length, 0),
        }));
        while (waiting.length > 0) {
          for (const { offset, bytes } of waiting.splice(picks.next().value! % waiting.length, 1))
            await sink.write(offset, bytes);
        }
        await sink.finish();
        expect(target.bytes.equals(Buffer.concat(contents))).toBe(true);
      }),
    );
    expect(await readdir(directory.path)).toEqual([]);
  });

  it("waits for the reader", async () => {
    const target = new CapturedStream({ highWaterMark: 1 });
    target.cork();
    await using sink = createOrderedOutput({
      target,
      digest: undefined,
      openSpillFile: () => openSpillFile("/nonexistent"),
      signal,
    });
    let isWritten = false;
    const written = sink.write(0, Buffer.from("abc")).then(() => (isWritten = true));
    await turn();
    expect(isWritten).toBe(false);
    target.uncork();
    await written;
    await sink.finish();
    expect(target.bytes.toString()).toBe("abc");
  });

  it("checks the digest of what it has written", async () => {
    const target = new CapturedStream();
    await using sink = createOrderedOutput({
      target,
      digest: { algorithm: "crc32", value: "891568578" },
      openSpillFile: () => openSpillFile(""),
      signal,
    });
    await sink.write(1, Buffer.from("bc"));
    await sink.write(0, Buffer.from("a"));
    await sink.finish();
    await using other = createOrderedOutput({
      target,
      digest: { algorithm: "crc32", value: "1" },
      openSpillFile: () => openSpillFile(""),
      signal,
    });
    await expect(other.finish()).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
  });

  it("says where it could not keep a piece that is early", async () => {
    const target = new CapturedStream();
    await using sink = createOrderedOutput({
      target,
      digest: undefined,
      openSpillFile: () => openSpillFile("/nonexistent"),
      signal,
      bufferLengthMax: 0,
    });
    await expect(sink.write(1, Buffer.from("b"))).rejects.toMatchObject({
      code: "ERR_OUTPUT",
      message: "Cannot keep early pieces in /nonexistent: ENOENT",
    });
  });

  it("says that the disk where early pieces wait is full", async () => {
    await using sink = createOrderedOutput({
      target: new CapturedStream(),
      digest: undefined,
      openSpillFile: async () => new SpillFile(await open("/dev/full", "r+"), "/somewhere"),
      signal,
      bufferLengthMax: 0,
    });
    await expect(sink.write(1, Buffer.from("b"))).rejects.toMatchObject({
      code: "ERR_NO_SPACE",
      message: "Cannot keep early pieces in /somewhere: the disk is full (ENOSPC)",
      cause: { code: "ENOSPC" },
    });
  });

  it("says that an early piece cannot be read back", async () => {
    await using directory = await openTemporaryDirectory();
    await using sink = createOrderedOutput({
      target: new CapturedStream(),
      digest: undefined,
      openSpillFile: async () =>
        new SpillFile(await open(join(directory.path, "write-only"), "w"), "/somewhere"),
      signal,
      bufferLengthMax: 0,
    });
    await sink.write(1, Buffer.from("b"));
    await expect(sink.write(0, Buffer.from("a"))).rejects.toMatchObject({
      code: "ERR_OUTPUT",
      message: "Cannot keep early pieces in /somewhere: EBADF",
    });
  });
});
