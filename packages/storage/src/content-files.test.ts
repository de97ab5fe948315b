import { rename, writeFile } from "node:fs/promises";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  collect,
  contentOf,
  createFixture,
  DRAFT,
  factsOf,
  Gate,
  fill,
  inChunks,
  overwrite,
  PIECE_LENGTH,
  pieceOf,
  type StorageFixture,
  TASK_ID,
  writePieceOf,
} from "../test-support/fixture.ts";
import { ContentFiles } from "./content-files.ts";
import type { ContentSender, PieceTarget, Storage, StoredTask } from "./storage.ts";

const CONTENT = contentOf(3 * PIECE_LENGTH + 17);
const REQUEST = { taskId: TASK_ID, pieceNumber: 0 };
let fixture: StorageFixture;
let storage: Storage;
let files: ContentFiles;
let task: StoredTask;

beforeEach(async () => {
  fixture = await createFixture();
  files = new ContentFiles({ limits: { readLength: 256, writeLength: 256 } });
  storage = await fixture.open({ onForget: (path) => files.forget(path) });
  task = await storage.createTask(factsOf(CONTENT));
});

afterEach(async () => {
  await files[Symbol.asyncDispose]();
  await fixture.remove();
});

/** Stands for another process that has the bytes. */
class Sender implements ContentSender {
  readonly #bytes: Uint8Array;
  readonly targets: PieceTarget[] = [];
  closedCount = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  async sendTo(target: PieceTarget): Promise<readonly string[]> {
    this.targets.push(target);
    return await files.receive(target, inChunks(this.#bytes));
  }

  async close(): Promise<void> {
    this.closedCount += 1;
  }
}

describe("writePiece with a sender", () => {
  it("records a piece whose bytes somebody else has written", async () => {
    for (let number = 0; number < task.pieceCount; number++)
      await task.writePiece({ ...DRAFT, number }, new Sender(pieceOf(task, number, CONTENT)));
    expect(await collect(task.read())).toEqual(Uint8Array.from(CONTENT));
    await task.seal();
    await fixture.reopen();
    expect((await fixture.storage.openTask(TASK_ID))?.sealed).toBe(true);
  });

  it("records nothing whose digest is another", async () => {
    const sender = new Sender(pieceOf(task, 0, CONTENT));
    const draft = { ...DRAFT, number: 0, digest: "crc32:1" };
    await expect(task.writePiece(draft, sender)).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
    });
    expect(task.pieces.size).toBe(0);
  });

  it.each([
    ["short", PIECE_LENGTH - 1],
    ["long", PIECE_LENGTH + 1],
  ])("records nothing that is too %s", async (_name, length) => {
    await expect(
      task.writePiece({ ...DRAFT, number: 0 }, new Sender(CONTENT.subarray(0, length))),
    ).rejects.toMatchObject({ code: "ERR_PIECE_LENGTH" });
    expect(task.pieces.size).toBe(0);
  });

  it("leaves a sender alone whose piece is there, and closes one that cannot be used", async () => {
    await writePieceOf(task, 0, CONTENT);
    const unneeded = new Sender(CONTENT);
    await task.writePiece({ ...DRAFT, number: 0 }, unneeded);
    expect(unneeded).toMatchObject({ targets: [], closedCount: 0 });
    const refused = new Sender(CONTENT);
    const draft = { ...DRAFT, number: 1, digest: "rot13:abc" };
    await expect(task.writePiece(draft, refused)).rejects.toThrow("Cannot check digest");
    expect(refused).toMatchObject({ targets: [], closedCount: 1 });
  });

  it("tells a sender that its task is deleted, and waits until it writes no more", async () => {
    const steps: string[] = [];
    let isAsked: () => void = () => {};
    const asked = new Promise<void>((resolve) => (isAsked = resolve));
    const sender: ContentSender = {
      async sendTo(_target, { signal }) {
        isAsked();
        await new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => {
            steps.push("told");
            setImmediate(resolve);
          });
        });
        steps.push("stopped");
        throw signal.reason;
      },
      async close() {},
    };
    const writing = task.writePiece({ ...DRAFT, number: 0 }, sender);
    const failed = expect(writing).rejects.toMatchObject({ code: "ERR_TASK_GONE" });
    await asked;
    await storage.deleteTask(TASK_ID);
    steps.push("deleted");
    await failed;
    expect(steps).toEqual(["told", "stopped", "deleted"]);
  });

  it("looks at no piece again where one begins to be written in the moment in which others end", async () => {
    const STEPS = 12;
    const content = contentOf(3 * STEPS * STEPS * PIECE_LENGTH);
    const other = await storage.createTask(factsOf(content, { taskId: "2".repeat(64) }));
    let number = 0;
    const write = () => {
      const bytes = pieceOf(other, number, content);
      const received = new Gate();
      const told = new Gate();
      const sender: ContentSender = {
        async sendTo(target) {
          const digests = await files.receive(target, inChunks(bytes));
          received.open();
          await told.opened;
          return digests;
        },
        async close() {},
      };
      const written = other.writePiece({ ...DRAFT, number: number++ }, sender);
      return { received: received.opened, tell: () => told.open(), written };
    };
    const pause = async (count: number): Promise<void> => {
      for (let step = 0; step < count; step++) await Promise.resolve();
    };
    // What another process tells comes in messages, one right behind the other: some steps of this one lie between.
    for (let round = 0; round < STEPS * STEPS; round++) {
      const [one, two] = [write(), write()];
      await Promise.all([one.received, two.received]);
      one.tell();
      await pause(round % STEPS);
      const three = write();
      await pause(Math.floor(round / STEPS));
      two.tell();
      three.tell();
      await Promise.all([one.written, two.written, three.written]);
    }
    expect(other.complete).toBe(true);
    expect(fixture.infos.filter((message) => message.includes("every piece is good"))).toEqual([]);
  });

  it("has no byte written to a file that was replaced meanwhile", async () => {
    await writePieceOf(task, 1, CONTENT);
    const sender: ContentSender = {
      async sendTo(target) {
        await writeFile(`${target.path}.other`, Buffer.alloc(CONTENT.byteLength));
        await rename(`${target.path}.other`, target.path);
        return await files.receive(target, inChunks(pieceOf(task, 0, CONTENT)));
      },
      async close() {},
    };
    await expect(task.writePiece({ ...DRAFT, number: 0 }, sender)).rejects.toThrow(
      "its file has been replaced",
    );
  });
});

describe("locatePiece", () => {
  it("lets another process read a piece, and counts it", async () => {
    await writePieceOf(task, 0, CONTENT);
    const located = await storage.locatePiece(REQUEST);
    expect(task).toMatchObject({ uploadingCount: 1, uploadedCount: 0 });
    const reader = await files.open(located);
    expect(await collect(reader!.content)).toEqual(Uint8Array.from(pieceOf(task, 0, CONTENT)));
    expect(task).toMatchObject({ uploadingCount: 0, uploadedCount: 1 });
  });

  it("reads a range only", async () => {
    await writePieceOf(task, 0, CONTENT);
    const range = { offset: 300, length: 400 };
    const reader = await files.open(await storage.locatePiece({ ...REQUEST, range }));
    expect(await collect(reader!.content)).toEqual(Uint8Array.from(CONTENT.subarray(300, 700)));
  });

  it("withdraws a piece that the other process finds damaged", async () => {
    await fill(task, CONTENT);
    const located = await storage.locatePiece(REQUEST);
    const reader = await files.open(located);
    await overwrite(fixture.contentPath(), 10);
    await expect(collect(reader!.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
    expect(task.pieces.has(0)).toBe(false);
    expect(task.uploadingCount).toBe(0);
  });

  it("does not read a file that has taken the place of the one meant, and finds the new one afterwards", async () => {
    await fill(task, CONTENT);
    const located = await storage.locatePiece(REQUEST);
    await writeFile(`${located.path}.other`, CONTENT);
    await rename(`${located.path}.other`, located.path);
    expect(await files.open(located)).toBeUndefined();
    expect(task.uploadingCount).toBe(0);
    const reader = await files.open(await storage.locatePiece(REQUEST));
    expect(await collect(reader!.content)).toEqual(Uint8Array.from(pieceOf(task, 0, CONTENT)));
  });

  it("says ERR_PIECE_NOT_FOUND for what is not there", async () => {
    await expect(storage.locatePiece(REQUEST)).rejects.toMatchObject({
      code: "ERR_PIECE_NOT_FOUND",
    });
  });
});

describe("spool with a sender", () => {
  it("keeps what somebody else has written, for both to read", async () => {
    const spool = await storage.spool({
      spoolTo: (path) => files.spool(path, inChunks(CONTENT)),
    });
    expect(spool.length).toBe(CONTENT.byteLength);
    const all = { offset: 0, length: spool.length };
    expect(await collect(spool.read(all))).toEqual(Uint8Array.from(CONTENT));
    expect(await collect(files.readSpool(spool.path, spool.length))).toEqual(
      Uint8Array.from(CONTENT),
    );
    await spool[Symbol.asyncDispose]();
  });

  it("leaves nothing of a sender that failed", async () => {
    const failure = new Error("broken off");
    let spooled = "";
    const failing = storage.spool({
      async spoolTo(path) {
        spooled = path;
        throw failure;
      },
    });
    await expect(failing).rejects.toBe(failure);
    await expect(files.readSpool(spooled, 1).next()).rejects.toMatchObject({ code: "ERR_IO" });
  });
});
