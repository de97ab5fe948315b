import { afterEach, beforeEach, expect, it } from "vitest";
import {
  DEFAULT_REQUEST,
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
} from "../testing/fake-cluster.ts";
import type { FakeCluster, FakeNode } from "../testing/fake-cluster.ts";

const LENGTH = 4 * PIECE_LENGTH;
let cluster: FakeCluster;
let node: FakeNode;
let counts: { started: number; failed: number };
const observer = {
  started: () => void (counts.started += 1),
  failed: () => void (counts.failed += 1),
};

beforeEach(async () => {
  cluster = await openFakeCluster(LENGTH);
  node = await cluster.addNode("node");
  counts = { started: 0, failed: 0 };
});
afterEach(async () => await cluster[Symbol.asyncDispose]());

const part = {
  ...DEFAULT_REQUEST,
  range: () => ({ offset: 0, length: 1 }),
  // Of whoever asked for the part; nothing of it is the whole's concern.
  digest: "crc32:1",
  output: { path: "/nowhere/out", overwrite: false, forceHardLink: true },
};

it("the whole of a task is fetched once, however many want a part of it", async () => {
  node.manager.prefetch(part, observer);
  node.manager.prefetch(part, observer);
  expect(node.manager.activeCount).toBe(1);
  await expect
    .poll(async () => (await node.storage.openTask(TASK_ID))?.complete, { timeout: 20_000 })
    .toBe(true);
  expect(cluster.origin.servedLength).toBe(LENGTH);
  expect(counts).toEqual({ started: 1, failed: 0 });
  expect(node.manager.history.of(TASK_ID)).toHaveProperty("prefetchedAtMs");
});

it("that it fails is counted, and nobody's failure", async () => {
  cluster.origin.beforeStat = () => {
    throw new Error("the origin is gone");
  };
  node.manager.prefetch(part, observer);
  await expect.poll(() => counts, { timeout: 20_000 }).toEqual({ started: 1, failed: 1 });
  expect(node.manager.history.of(TASK_ID)).toHaveProperty("failedAtMs");
});

it("none is begun by a daemon that is stopping", async () => {
  await node.close();
  node.manager.prefetch(part, observer);
  expect(counts).toEqual({ started: 0, failed: 0 });
});

it("no more are begun at once than may be, of a thousand", async () => {
  let isHeld = true;
  cluster.origin.beforeStat = async () => {
    await expect.poll(() => isHeld, { timeout: 20_000 }).toBe(false);
  };
  for (let index = 0; index < 1_000; index += 1) {
    const taskId = index.toString(16).padStart(64, "0");
    node.manager.prefetch({ ...part, taskId }, observer);
  }
  expect(counts.started).toBe(100);
  expect(node.manager.activeCount).toBe(100);
  isHeld = false;
  await expect.poll(() => node.manager.activeCount, { timeout: 20_000 }).toBe(0);
});
