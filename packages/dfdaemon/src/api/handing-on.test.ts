import { createHash, randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Download__Output, DownloadTaskResponse } from "@damselfly/rpc";
import type { StoredTask } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OriginError } from "../origins/origin-error.ts";
import { REPAIRS_MAX } from "../tasks/told-pieces.ts";
import {
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
  type FakeCluster,
  type FakeNode,
} from "../testing/fake-cluster.ts";
import { askForContent, assembled, take } from "../testing/handed-content.ts";
import { openGate } from "../testing/open-gate.ts";
import { LocalContent } from "./local-content.ts";

const PIECE_COUNT = 20;
const LENGTH = PIECE_COUNT * PIECE_LENGTH;
const DAMAGE = Buffer.from("damaged by somebody");

let cluster: FakeCluster;
let node: FakeNode;
let localContent: LocalContent;

beforeEach(async () => {
  cluster = await openFakeCluster(LENGTH);
  node = await cluster.addNode("a");
  localContent = new LocalContent(2 ** 30);
});
afterEach(async () => {
  await cluster[Symbol.asyncDispose]();
});

/** Overwrites a piece where the node keeps it. */
async function damage(number: number): Promise<void> {
  const path = join(node.directory, "damselfly", "content", TASK_ID.slice(0, 3), TASK_ID);
  const file = await open(path, "r+");
  await file.write(DAMAGE, 0, DAMAGE.length, number * PIECE_LENGTH + 1_000);
  await file.close();
}

/** What `dfget -O -` is answered. */
function ask(
  fields: Partial<Download__Output> = {},
  signal?: AbortSignal,
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  return askForContent(node, { fields, localContent, ...(signal && { signal }) });
}

async function storedTask(): Promise<StoredTask> {
  return (await node.storage.openTask(TASK_ID))!;
}

describe("content that is handed on", () => {
  /** The whole file is here. */
  beforeEach(async () => {
    await node.download();
    await expect.poll(async () => (await storedTask()).sealed).toBe(true);
    cluster.origin.servedLength = 0;
  });

  it("goes on where a piece was damaged after it had begun, once that is fetched again", async () => {
    const handed = await take(ask(), async (count) => {
      if (count === 1) await damage(15);
    });
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    expect(cluster.origin.servedLength).toBe(PIECE_LENGTH);
    expect((await storedTask()).complete).toBe(true);
  });

  it("goes on as often as other pieces are damaged, and comes in order", async () => {
    const handed = await take(ask(), async (count) => {
      if (count % 2 === 0 && count < PIECE_COUNT) await damage(count);
    });
    expect([...handed.pieces.keys()]).toEqual(Array.from({ length: PIECE_COUNT }, (_, n) => n));
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    expect(cluster.origin.servedLength).toBe(9 * PIECE_LENGTH);
  });

  it("fetches only what is damaged of a range, whoever wants it", async () => {
    const range = { start: 4 * PIECE_LENGTH + 10, length: 3 * PIECE_LENGTH };
    const handed = await take(ask({ range }), async (count) => {
      if (count === 1) for (const number of [6, 12]) await damage(number);
    });
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    const { content } = cluster.origin;
    expect(assembled(handed).equals(content.subarray(4 * PIECE_LENGTH, 8 * PIECE_LENGTH))).toBe(
      true,
    );
    expect(cluster.origin.servedLength).toBe(PIECE_LENGTH);
  });

  it("is fetched again once for all who read it at that moment", async () => {
    let hasBegun = 0;
    let damaged: Promise<void> | undefined;
    const allHave = openGate();
    const readers = Array.from({ length: 4 }, () =>
      take(ask(), async (count) => {
        if (count !== 1) return;
        hasBegun += 1;
        if (hasBegun === 4) allHave.resolve();
        await allHave.promise;
        damaged ??= damage(11);
        await damaged;
      }),
    );
    for (const handed of await Promise.all(readers)) {
      expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
      expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    }
    expect(cluster.origin.servedLength).toBe(PIECE_LENGTH);
  });

  it("ends with what the origin says when that is gone, and has given nothing wrong", async () => {
    const gone = new OriginError("ERR_ORIGIN_UNREACHABLE", "Cannot reach the origin: it is gone");
    cluster.origin.beforeStat = cluster.origin.beforeRead = () => {
      throw gone;
    };
    const handed = await take(ask(), async (count) => {
      if (count === 5) await damage(9);
    });
    expect(handed.failure).toMatchObject({ code: "ERR_ORIGIN_UNREACHABLE" });
    expect(assembled(handed).equals(cluster.origin.content.subarray(0, 9 * PIECE_LENGTH))).toBe(
      true,
    );
    await expect.poll(() => localContent.usedLength).toBe(0);
  });

  it("ends when what was fetched again is damaged each time", async () => {
    const task = await storedTask();
    const readPiece = task.readPiece.bind(task);
    vi.spyOn(task, "readPiece").mockImplementation(async (number) => {
      if (number === 7) await damage(number);
      return await readPiece(number);
    });
    const handed = await take(ask());
    expect(handed.failure).toMatchObject({ code: "ERR_PIECE_MISSING" });
    expect(cluster.origin.servedLength).toBe(REPAIRS_MAX * PIECE_LENGTH);
    expect(handed.pieces.has(7)).toBe(false);
    for (const [number, bytes] of handed.pieces) {
      const offset = number * PIECE_LENGTH;
      expect(cluster.origin.content.subarray(offset, offset + PIECE_LENGTH).equals(bytes)).toBe(
        true,
      );
    }
    await expect.poll(() => localContent.usedLength).toBe(0);
  });

  it("begins anew, and says so, when the origin has another file by now", async () => {
    const changed = randomBytes(LENGTH);
    const handed = await take(ask(), async (count) => {
      if (count !== 3 || cluster.origin.etag === '"2"') return;
      cluster.origin.content = changed;
      cluster.origin.etag = '"2"';
      await damage(9);
    });
    expect(handed).toMatchObject({ startedCount: 2, failure: undefined });
    expect(assembled(handed).equals(changed)).toBe(true);
  });

  it("begins anew, too, where nobody can tell whether the file still is the same", async () => {
    await node.storage.deleteTask(TASK_ID);
    cluster.origin.etag = "";
    await node.download();
    const changed = randomBytes(LENGTH);
    let isDamaged = false;
    const handed = await take(ask(), async (count) => {
      if (count !== 3 || isDamaged) return;
      isDamaged = true;
      cluster.origin.content = changed;
      await damage(9);
    });
    expect(handed).toMatchObject({ startedCount: 2, failure: undefined });
    expect(assembled(handed).equals(changed)).toBe(true);
  });

  it("begins anew when the task is deleted", async () => {
    let isDeleted = false;
    const handed = await take(ask(), async (count) => {
      if (count !== 3 || isDeleted) return;
      isDeleted = true;
      await node.storage.deleteTask(TASK_ID);
    });
    expect(handed).toMatchObject({ startedCount: 2, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    expect(cluster.origin.servedLength).toBe(LENGTH);
  });

  it("ends when the task is deleted each time", async () => {
    const handed = await take(ask(), async (count) => {
      if (count === 3) await node.storage.deleteTask(TASK_ID);
    });
    expect(handed.failure).toMatchObject({ code: "ERR_ORIGIN_UNSTABLE" });
    await expect.poll(() => localContent.usedLength).toBe(0);
  });

  it("ends, and leaves nothing, when whoever takes it leaves while a piece is fetched again", async () => {
    const left = new AbortController();
    const [asked, answered] = [openGate(), openGate()];
    cluster.origin.beforeRead = async () => {
      asked.resolve();
      await answered.promise;
    };
    const taking = take(ask({}, left.signal), async (count) => {
      if (count === 1) await damage(4);
    });
    await asked.promise;
    expect(node.manager.isActive(TASK_ID)).toBe(true);
    left.abort(new Error("enough"));
    answered.resolve();
    expect((await taking).failure).toMatchObject({ message: "enough" });
    await expect.poll(() => node.manager.activeCount).toBe(0);
    await expect.poll(() => localContent.usedLength).toBe(0);
  });

  it("is compared with the digest that was named, also when it is damaged after it was given", async () => {
    const digest = `sha256:${createHash("sha256").update(cluster.origin.content).digest("hex")}`;
    const handed = await take(ask({ digest }), async (count) => {
      if (count === PIECE_COUNT) await damage(2);
    });
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    expect(cluster.origin.servedLength).toBe(PIECE_LENGTH);
  });
});

describe("content that is handed on as it comes", () => {
  it("is whole when a piece is damaged without a trace in stat before it was taken", async () => {
    const written = openGate();
    let isDamaged = false;
    // While the last piece is written its file changes by our own hand.
    cluster.origin.beforeChunk = async (position) => {
      if (isDamaged || position !== LENGTH - PIECE_LENGTH + 30_000) return;
      isDamaged = true;
      const task = await storedTask();
      await expect.poll(() => task.pieces.size).toBe(PIECE_COUNT - 1);
      for (const number of [2, 9]) await damage(number);
      written.resolve();
    };
    const handed = await take(ask(), async (count) => {
      if (count === 1) await written.promise;
    });
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
  });

  it("begins anew when the origin has another file, and somebody else has found that out", async () => {
    const changed = randomBytes(LENGTH);
    let isChanged = false;
    let whole: Promise<unknown> | undefined;
    const held = openGate();
    cluster.origin.beforeChunk = async (position) => {
      if (!isChanged && position >= LENGTH - PIECE_LENGTH) await held.promise;
    };
    const handed = await take(ask(), async () => {
      if (isChanged) return;
      isChanged = true;
      cluster.origin.content = changed;
      cluster.origin.etag = '"2"';
      whole = node.download({ revalidate: true });
      await expect.poll(async () => (await storedTask())?.facts.contentVersion).toContain("2");
      held.resolve();
    });
    await whole;
    expect(handed).toMatchObject({ startedCount: 2, failure: undefined });
    expect(assembled(handed).equals(changed)).toBe(true);
  });

  it("is whole when a piece that was to be taken was dropped by somebody else", async () => {
    const handed = await take(ask(), async (count) => {
      if (count !== 1) return;
      const task = await storedTask();
      await expect.poll(() => task.complete).toBe(true);
      await damage(13);
      expect(await task.verify([13])).toEqual([]); // the look before it has dropped it
      expect(task.pieces.has(13)).toBe(false);
    });
    expect(handed).toMatchObject({ startedCount: 1, failure: undefined });
    expect(assembled(handed).equals(cluster.origin.content)).toBe(true);
    expect(cluster.origin.servedLength).toBe(LENGTH + PIECE_LENGTH);
  });
});
