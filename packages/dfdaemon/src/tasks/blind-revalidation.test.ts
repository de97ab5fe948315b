import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  contentOf,
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
  type FakeCluster,
  type FakeNode,
  type Script,
} from "../testing/fake-cluster.ts";
import { openGate } from "../testing/open-gate.ts";

const LENGTH = 6 * PIECE_LENGTH;
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });
const toHolder: Script = (session) =>
  session.say({ kind: "parents", parents: [cluster.nodes.get("holder")!.candidate] });

let cluster: FakeCluster;
let child: FakeNode;
let old: Buffer;
let present: Buffer;

/** An origin without ETag and Last-Modified, whose file has changed since somebody got it, but not its length. */
beforeEach(async () => {
  cluster = await openFakeCluster(LENGTH);
  cluster.origin.etag = "";
  old = cluster.origin.content;
  const holder = await cluster.addNode("holder", { script: toOrigin });
  await holder.download();
  child = await cluster.addNode("child", { script: toHolder });
  present = randomBytes(LENGTH);
  cluster.origin.content = present;
  cluster.origin.servedLength = 0;
});
afterEach(async () => {
  await cluster[Symbol.asyncDispose]();
});

/** A download with revalidation that has looked for what is here, and has asked the origin, or waits for the answer to somebody else. */
async function beginToAsk(node: FakeNode): Promise<{ readonly ended: Promise<unknown> }> {
  const looking = vi.spyOn(node.storage, "openTask");
  const ended = node.download({ revalidate: true });
  await expect
    .poll(() => looking.mock.settledResults[0]?.type, { timeout: 20_000 })
    .toBe("fulfilled");
  return { ended };
}

describe("A file whose versions cannot be told apart, asked for with revalidation,", () => {
  it("is what the origin has now, and not what others have", async () => {
    await child.download({ revalidate: true });
    expect((await contentOf(child)).equals(present)).toBe(true);
    expect(cluster.origin.servedLength).toBe(LENGTH);
  });

  it("is so where an old copy is here, or on its way from others", async () => {
    const downloading = child.download();
    await vi.waitFor(() => expect(child.sessions).toHaveLength(1));
    await child.download({ revalidate: true });
    expect((await contentOf(child)).equals(present)).toBe(true);
    await downloading;
    expect((await contentOf(child)).equals(present)).toBe(true);
    const third = randomBytes(LENGTH);
    cluster.origin.content = third;
    await child.download({ revalidate: true });
    expect((await contentOf(child)).equals(third)).toBe(true);
  });

  it("is read once for all who asked before that began, and again for who asked later", async () => {
    let later: Promise<unknown> | undefined;
    const third = randomBytes(LENGTH);
    cluster.origin.beforeChunk = async (position) => {
      if (position === 0 || later !== undefined) return;
      cluster.origin.content = third;
      await new Promise((resolve) => setTimeout(resolve, 5));
      later = child.download({ revalidate: true });
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    await Promise.all([0, 1, 2].map(() => child.download({ revalidate: true })));
    await later;
    expect((await contentOf(child)).equals(third)).toBe(true);
    expect(cluster.origin.servedLength).toBe(2 * LENGTH);
  });

  it("is no mix of two readings when somebody asks for what is here while the download of it is being ended", async () => {
    // Gives two pieces, and no others.
    let givenCount = 0;
    const slow = await cluster.addNode("slow", {
      script: toOrigin,
      corrupt: (source) => ({
        async openPiece(request, options) {
          givenCount += 1;
          if (givenCount <= 2) return await source.openPiece(request, options);
          return await new Promise((_, reject) => {
            options?.signal?.addEventListener("abort", () => reject(new Error("left")));
          });
        },
      }),
    });
    cluster.origin.content = old;
    await slow.download();
    cluster.origin.content = present;
    let isOver = false;
    const mayEnd = openGate();
    const reader = await cluster.addNode("reader", {
      script: (session) => {
        if (reader.sessions.length > 1) return;
        session.say({ kind: "parents", parents: [slow.candidate] });
        session.fail = async () => {
          isOver = true;
          await mayEnd.promise;
        };
      },
    });
    const first = reader.download();
    const pieceCount = async (): Promise<number> =>
      (await reader.storage.openTask(TASK_ID))?.pieces.size ?? 0;
    await expect.poll(pieceCount, { timeout: 20_000 }).toBe(2);
    const second = reader.download({ revalidate: true });
    await expect.poll(() => isOver, { timeout: 20_000 }).toBe(true);
    const third = reader.download();
    await expect.poll(() => reader.sessions.length, { timeout: 20_000 }).toBe(2);
    mayEnd.resolve();
    await Promise.all([first, second, third]);
    expect((await contentOf(reader)).equals(present)).toBe(true);
  });

  it("is that also for who asks while the question of somebody is on its way who may not read it there", async () => {
    const { origin } = cluster;
    const mayAnswer = openGate();
    origin.beforeStat = () => mayAnswer.promise;
    const first = child.download({ revalidate: true, disableBackToSource: true });
    await expect.poll(() => origin.statCount, { timeout: 20_000 }).toBe(2);
    const second = await beginToAsk(child);
    mayAnswer.resolve();
    await second.ended;
    expect((await contentOf(child)).equals(present)).toBe(true);
    await first;
  });

  it("is read anew for who asks while the question of somebody is on its way who is given what was read since he asked", async () => {
    const { origin } = cluster;
    const reader = await cluster.addNode("reader", { script: toOrigin });
    const mayAnswer = openGate();
    origin.beforeStat = () => (origin.statCount === 2 ? mayAnswer.promise : undefined);
    const first = reader.download({ revalidate: true });
    await expect.poll(() => origin.statCount, { timeout: 20_000 }).toBe(2);
    await reader.download();
    const third = randomBytes(LENGTH);
    origin.content = third;
    // On the clock by which it is told what is older.
    const readMs = Date.now();
    await expect.poll(() => Date.now(), { timeout: 20_000 }).toBeGreaterThan(readMs);
    const later = await beginToAsk(reader);
    mayAnswer.resolve();
    await Promise.all([first, later.ended]);
    expect((await contentOf(reader)).equals(third)).toBe(true);
  });

  it("comes from others where the origin may not be asked for it", async () => {
    await child.download({ revalidate: true, disableBackToSource: true });
    expect((await contentOf(child)).equals(old)).toBe(true);
  });
});
