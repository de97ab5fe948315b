import { createHash, randomBytes } from "node:crypto";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { StoredTask } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  contentOf,
  DEFAULT_REQUEST,
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
  type FakeCluster,
  type FakeNode,
  type Script,
} from "../testing/fake-cluster.ts";
import { openGate } from "../testing/open-gate.ts";
import type { DownloadEvent } from "./task-manager.ts";

const LENGTH = 20 * PIECE_LENGTH + 123;
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });

let cluster: FakeCluster;
beforeEach(async () => {
  cluster = await openFakeCluster(LENGTH);
});
afterEach(async () => {
  await cluster[Symbol.asyncDispose]();
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const toSeed: Script = (session) =>
  session.registration.needBackToSource
    ? toOrigin(session)
    : session.say({ kind: "parents", parents: [cluster.nodes.get("seed")!.candidate] });
const outputIn = (
  node: FakeNode,
): { path: string; overwrite: boolean; forceHardLink: boolean } => ({
  path: join(node.directory, "out"),
  overwrite: false,
  forceHardLink: false,
});

/** Of the event that comes first. */
async function taskOf(events: AsyncIterator<DownloadEvent>): Promise<StoredTask | undefined> {
  const { value } = await events.next();
  return value?.kind === "started" ? value.task : undefined;
}

describe("A file whose origin says what its digest is", () => {
  it("is delivered and sealed when it has that digest", async () => {
    cluster.origin.digests = [`sha256:${sha256(cluster.origin.content)}`];
    const checks: unknown[] = [];
    const node = await cluster.addNode("a", { onDigestChecked: (check) => checks.push(check) });
    await node.download({ output: outputIn(node) });
    expect(sha256(await readFile(outputIn(node).path))).toBe(sha256(cluster.origin.content));
    expect(checks).toEqual([{ algorithm: "sha256", isGood: true }]);
    await expect.poll(async () => (await node.storage.openTask(TASK_ID))?.sealed).toBe(true);
    // What is sealed has been looked at.
    await node.download();
    expect(checks).toHaveLength(1);
  });

  it("is neither delivered nor kept when the origin sent another one, and both digests are named", async () => {
    const wrong = `sha256:${sha256(randomBytes(1))}`;
    cluster.origin.digests = [wrong];
    const node = await cluster.addNode("a");
    const actual = `sha256:${sha256(cluster.origin.content)}`;
    await expect(node.download({ output: outputIn(node) })).rejects.toMatchObject({
      code: "ERR_ORIGIN_DIGEST",
      message: `Cannot deliver http://origin.test/file: what the origin sent is not what it says it is: it has ${actual}, expected ${wrong} as the origin says`,
    });
    expect(await node.storage.openTask(TASK_ID)).toBeUndefined();
    expect(await readdir(node.directory)).not.toContain("out");
  });

  it("is looked at, and read, once for all who wait for it", async () => {
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const checks: unknown[] = [];
    const node = await cluster.addNode("a", { onDigestChecked: (check) => checks.push(check) });
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => node.download()));
    const errors = all.map((each): unknown => (each.status === "rejected" ? each.reason : each));
    for (const error of errors) expect(error).toMatchObject({ code: "ERR_ORIGIN_DIGEST" });
    expect(checks).toHaveLength(1);
    expect(cluster.origin.servedLength).toBe(LENGTH);
  });

  it("is read from the origin when peers gave another one, though each piece was what they said", async () => {
    const right = cluster.origin.content;
    cluster.origin.content = randomBytes(LENGTH);
    const seed = await cluster.addNode("seed", { script: toOrigin });
    await seed.download();
    cluster.origin.content = right;
    cluster.origin.digests = [`sha256:${sha256(right)}`];
    const child = await cluster.addNode("child", { script: toSeed });
    await child.download({ output: outputIn(child) });
    expect(sha256(await readFile(outputIn(child).path))).toBe(sha256(right));
    const task = await child.storage.openTask(TASK_ID);
    expect([...task!.pieces.values()].every(({ parentId }) => parentId === "")).toBe(true);
  });

  it("is an error when peers gave another one and the origin may not be asked", async () => {
    const right = cluster.origin.content;
    cluster.origin.content = randomBytes(LENGTH);
    const seed = await cluster.addNode("seed", { script: toOrigin });
    await seed.download();
    cluster.origin.digests = [`sha256:${sha256(right)}`];
    const child = await cluster.addNode("child", { script: toSeed });
    await expect(child.download({ disableBackToSource: true })).rejects.toMatchObject({
      code: "ERR_DIGEST_MISMATCH",
      message: expect.stringContaining("what the peers gave is not what the origin has"),
    });
    expect(await child.storage.openTask(TASK_ID)).toBeUndefined();
  });

  it("is the user's to judge who gives a digest that nobody can forge", async () => {
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const node = await cluster.addNode("a");
    await node.download({ digest: `sha256:${sha256(cluster.origin.content)}` });
    expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
  });

  it("is delivered unseen where digests are not to be verified", async () => {
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const node = await cluster.addNode("a", { verifyDigest: false });
    await node.download();
    expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
  });

  it("is looked at when its last part comes, whoever wanted that", async () => {
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const node = await cluster.addNode("a");
    await node.download({ range: () => ({ offset: 0, length: 10 * PIECE_LENGTH }) });
    const rest = { offset: 10 * PIECE_LENGTH, length: LENGTH - 10 * PIECE_LENGTH };
    await expect(node.download({ range: () => rest })).rejects.toMatchObject({
      code: "ERR_ORIGIN_DIGEST",
    });
  });

  it("is looked at before it is sealed also by who wanted a part, and got it when the rest had come", async () => {
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const rest = openGate();
    cluster.origin.beforeChunk = async (position) => {
      if (position >= 10 * PIECE_LENGTH) await rest.promise;
    };
    const node = await cluster.addNode("a");
    const { signal } = new AbortController();
    const range = (): { offset: number; length: number } => ({
      offset: 0,
      length: 10 * PIECE_LENGTH,
    });
    const request = { ...DEFAULT_REQUEST, output: outputIn(node), range };
    const part = node.manager.download(request, signal);
    const task = (await taskOf(part))!;

    // Its file is being written when the rest comes for somebody else, who has yet to see that.
    const [placing, written] = [openGate(), openGate()];
    const output = task.output.bind(task);
    task.output = async (...place) => {
      placing.resolve();
      await written.promise;
      return await output(...place);
    };
    const partDone = (async () => {
      for await (const _ of part);
    })();
    await placing.promise;
    const whole = node.manager.download(DEFAULT_REQUEST, signal);
    await taskOf(whole);
    rest.resolve();
    for (let count = 0; count < task.pieceCount; count += 1) await whole.next();
    expect(task.complete).toBe(true);
    written.resolve();
    await partDone;

    await expect.poll(() => node.storage.openTask(TASK_ID)).toBeUndefined();
    expect(task.sealed).toBe(false);
    await expect(whole.next()).rejects.toMatchObject({ code: "ERR_ORIGIN_DIGEST" });
  });

  it("is looked at again when the origin says so for the first time", async () => {
    const node = await cluster.addNode("a");
    await node.download();
    await expect.poll(async () => (await node.storage.openTask(TASK_ID))?.sealed).toBe(true);
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    await expect(node.download({ revalidate: true })).rejects.toMatchObject({
      code: "ERR_ORIGIN_DIGEST",
    });
    expect(await node.storage.openTask(TASK_ID)).toBeUndefined();
  });

  it("is not the origin's fault when the disk has changed it: what is damaged is fetched again", async () => {
    cluster.origin.digests = [`sha256:${sha256(cluster.origin.content)}`];
    const node = await cluster.addNode("a", { limits: { backToSourceConcurrentPieceCount: 1 } });
    let isDamaged = false;
    // While a piece is being written the file changes by our own hand, so stat cannot tell.
    cluster.origin.beforeChunk = async (position) => {
      if (isDamaged || position < 19 * PIECE_LENGTH + 10_000) return;
      isDamaged = true;
      const path = join(node.directory, "damselfly", "content", TASK_ID.slice(0, 3), TASK_ID);
      const file = await open(path, "r+");
      await file.write(randomBytes(100), 0, 100, 3 * PIECE_LENGTH);
      await file.close();
    };
    await node.download({ output: outputIn(node) });
    expect(isDamaged).toBe(true);
    expect(sha256(await readFile(outputIn(node).path))).toBe(sha256(cluster.origin.content));
    expect(cluster.origin.servedLength).toBe(LENGTH + PIECE_LENGTH);
  });

  it("may be of any length, and have its digest computed while it comes", async () => {
    cluster.origin.content = randomBytes(6_000_000);
    cluster.origin.digests = [
      `sha512:${createHash("sha512").update(cluster.origin.content).digest("hex")}`,
    ];
    const node = await cluster.addNode("a");
    await node.download();
    expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    await node.storage.deleteTask(TASK_ID);
    cluster.origin.digests = [`md5:${"0".repeat(32)}`];
    await expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_DIGEST" });
  });

  it("that has no length until it is there is looked at, too", async () => {
    cluster.origin.lengthKnown = false;
    cluster.origin.digests = [`sha256:${sha256(cluster.origin.content)}`];
    const node = await cluster.addNode("a");
    await node.download();
    await node.storage.deleteTask(TASK_ID);
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    await expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_DIGEST" });
    expect(await node.storage.openTask(TASK_ID)).toBeUndefined();
  });

  it("is not judged by what an unchecked origin says", async () => {
    const node = await cluster.addNode("a");
    await node.download();
    cluster.origin.digests = [`sha256:${sha256(randomBytes(1))}`];
    const origin = { url: "http://origin.test/file", header: {}, insecure: true };
    await node.download({ origin, revalidate: true });
    expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
  });
});
