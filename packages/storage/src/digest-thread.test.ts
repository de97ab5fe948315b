import { createHash } from "node:crypto";
import { mkdtemp, open, rm, writeFile, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { contentOf } from "../test-support/fixture.ts";
import { DigestThread, ThreadLost } from "./digest-thread.ts";

const CONTENT = contentOf(3_000_000);
let directory: string;
let file: FileHandle;
let thread: DigestThread;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-digest-"));
  await writeFile(join(directory, "file"), CONTENT);
  file = await open(join(directory, "file"));
  thread = new DigestThread();
});

afterEach(async () => {
  await thread[Symbol.asyncDispose]();
  await file.close();
  await rm(directory, { recursive: true });
});

describe("DigestThread", () => {
  it.each(["md5", "sha1", "sha256", "sha512"])("computes %s of what it is shown", async (name) => {
    const digest = thread.open(name);
    await digest.update(file.fd, { position: 10, length: 1_000_000 });
    await digest.update(file.fd, { position: 1_000_010, length: 7 });
    const expected = createHash(name).update(CONTENT.subarray(10, 1_000_017)).digest("hex");
    expect(await digest.finish()).toBe(`${name}:${expected}`);
  });

  it("computes CRC-32 in decimal", async () => {
    const digest = thread.open("crc32");
    await digest.update(file.fd, { position: 0, length: CONTENT.byteLength });
    expect(await digest.finish()).toBe(`crc32:${crc32(CONTENT)}`);
  });

  it("keeps several apart that come in turns", async () => {
    const digests = [0, 1, 2].map((position) => ({ position, digest: thread.open("sha256") }));
    for (let step = 0; step < 5; step += 1) {
      await Promise.all(
        digests.map(({ position, digest }) =>
          digest.update(file.fd, { position: position + step * 1000, length: 1000 }),
        ),
      );
    }
    for (const { position, digest } of digests) {
      const bytes = CONTENT.subarray(position, position + 5000);
      const expected = createHash("sha256").update(bytes).digest("hex");
      expect(await digest.finish()).toBe(`sha256:${expected}`);
    }
  });

  it("leaves this thread to others", async () => {
    const digest = thread.open("sha512");
    const progress = { isDone: false, turnCount: 0 };
    const updating = digest
      .update(file.fd, { position: 0, length: CONTENT.byteLength })
      .then(() => (progress.isDone = true));
    while (!progress.isDone) {
      progress.turnCount += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await updating;
    expect(progress.turnCount).toBeGreaterThan(3);
  });

  it("says where a file ends that is too short, and what cannot be read", async () => {
    const range = { position: CONTENT.byteLength - 5, length: 10 };
    const short = thread.open("sha256").update(file.fd, range);
    await expect(short).rejects.toThrow(`the file ends at ${CONTENT.byteLength}`);
    const closed = await open(join(directory, "file"));
    const { fd } = closed;
    await closed.close();
    const unreadable = thread.open("sha256").update(fd, { position: 0, length: 1 });
    await expect(unreadable).rejects.toMatchObject({ code: "EBADF" });
  });

  it("ends when it is not needed for a while, and begins again", async () => {
    const brief = new DigestThread({ idleMs: 1 });
    const lost = brief.open("sha256");
    await expect.poll(() => brief.isRunning).toBe(false);
    await expect(lost.finish()).rejects.toBeInstanceOf(ThreadLost);
    const digest = new DigestThread({ idleMs: 60_000 });
    const whole = digest.open("sha256");
    await whole.update(file.fd, { position: 0, length: CONTENT.byteLength });
    expect(await whole.finish()).toBe(
      `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`,
    );
    await digest[Symbol.asyncDispose]();
    await brief[Symbol.asyncDispose]();
  });

  it("tells whoever waits that it is closed", async () => {
    const digest = thread.open("sha256");
    const updating = digest.update(file.fd, { position: 0, length: CONTENT.byteLength });
    const failed = expect(updating).rejects.toBeInstanceOf(ThreadLost);
    await thread[Symbol.asyncDispose]();
    await failed;
    expect(thread.isRunning).toBe(false);
  });
});
