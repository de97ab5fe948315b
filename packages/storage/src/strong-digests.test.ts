import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  DRAFT,
  factsOf,
  inChunks,
  type StorageFixture,
  TASK_ID,
} from "../test-support/fixture.ts";
import { MemoryDisk } from "../test-support/memory-disk.ts";
import type { PieceDigest } from "./context.ts";

const CONTENT = contentOf(1000);
const REQUEST = { taskId: TASK_ID, pieceNumber: 0 };
const SHA256 = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;
const CRC32 = `crc32:${crc32(CONTENT)}`;
let fixture: StorageFixture;
let disk: MemoryDisk;

beforeEach(async () => {
  fixture = await createFixture();
  disk = new MemoryDisk();
});

afterEach(async () => {
  await fixture.remove();
});

async function open(pieceDigest: PieceDigest): Promise<void> {
  await fixture.close();
  await fixture.open({ fileSystem: disk, pieceDigest });
}

/** Other bytes with the same CRC-32, as whoever means to can make them. */
function forgery(): Uint8Array {
  const forged = Uint8Array.from(CONTENT);
  // CRC-32 is linear: its polynomial, written over bytes anywhere, changes nothing of it.
  const polynomial = [0x01, 0x04, 0xc1, 0x1d, 0xb7];
  const mirrored = polynomial.map((byte) => reversed(byte));
  for (const [index, byte] of mirrored.entries())
    forged[100 + index] = (forged[100 + index] ?? 0) ^ byte;
  return forged;
}

function reversed(byte: number): number {
  let result = 0;
  for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) result |= 0x80 >> bit;
  return result;
}

describe("pieces with a strong digest", () => {
  it("can be told from bytes that have the same CRC-32", () => {
    expect(crc32(forgery())).toBe(crc32(CONTENT));
    expect(forgery()).not.toEqual(CONTENT);
  });

  it("keep CRC-32 where Dragonfly has it, and SHA-256 beside", async () => {
    await open("sha256");
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    const piece = await task.writePiece({ ...DRAFT, number: 0 }, inChunks(CONTENT));
    expect(piece).toMatchObject({ digest: CRC32, strongDigest: SHA256 });
    await open("crc32");
    const reader = await fixture.storage.openPiece(REQUEST);
    expect(reader.piece).toMatchObject({ digest: CRC32, strongDigest: SHA256 });
    expect(await collect(reader.content)).toEqual(CONTENT);
  });

  it("have it also when only somebody asked for it, and not when nobody did", async () => {
    await open("crc32");
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    const asked = { ...DRAFT, number: 0, digest: CRC32, digests: [SHA256] };
    expect(await task.writePiece(asked, inChunks(CONTENT))).toMatchObject({
      digest: CRC32,
      strongDigest: SHA256,
    });
    const other = factsOf(CONTENT, { taskId: "0".repeat(64) });
    const plain = await fixture.storage.createTask(other);
    const piece = await plain.writePiece({ ...DRAFT, number: 0 }, inChunks(CONTENT));
    expect(piece).not.toHaveProperty("strongDigest");
  });

  it("refuse bytes that have only one of the two", async () => {
    await open("crc32");
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    const draft = { ...DRAFT, number: 0, digest: CRC32, digests: [SHA256] };
    await expect(task.writePiece(draft, inChunks(forgery()))).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
      message: expect.stringContaining(SHA256),
    });
    expect(task.pieces.size).toBe(0);
  });

  it("are what the sender says where they have one, and only there", async () => {
    const draft = { ...DRAFT, number: 0, digest: CRC32, strongDigest: SHA256 };
    await open("sha256");
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await expect(task.writePiece(draft, inChunks(forgery()))).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
    });
    expect(await task.writePiece(draft, inChunks(CONTENT))).toMatchObject({ strongDigest: SHA256 });
    await open("crc32");
    const other = await fixture.storage.createTask(factsOf(CONTENT, { taskId: "0".repeat(64) }));
    expect(await other.writePiece(draft, inChunks(CONTENT))).not.toHaveProperty("strongDigest");
  });

  it.each([
    ["served", () => serve()],
    ["verified", async () => (await fixture.storage.openTask(TASK_ID))?.verify([0])],
  ])("are checked with it when they are %s", async (_name, look) => {
    await open("sha256");
    const task = await fixture.storage.createTask(factsOf(CONTENT));
    await task.writePiece({ ...DRAFT, number: 0 }, inChunks(CONTENT));
    await task.seal();
    const forged = forgery();
    for (let position = 100; position < 105; position++)
      disk.rot(fixture.contentPath(), position, forged[position]);
    await look();
    expect(task.pieces.size).toBe(0);
  });
});

async function serve(): Promise<void> {
  const reader = await fixture.storage.openPiece(REQUEST);
  await expect(collect(reader.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
}
