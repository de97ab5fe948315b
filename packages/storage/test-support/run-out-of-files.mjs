// A storage in a process that runs out of descriptors, for real-disk.test.ts:
//   prlimit --nofile=64 node run-out-of-files.mjs <directory>
// Prints what a task that needs another file is told, then what becomes of it when there are some again.
import { open } from "node:fs/promises";

import { openStorage } from "../dist/index.js";
import { contentOfTask, PIECE_LENGTH, taskIdOf } from "./crash-content.mjs";

const storage = await openStorage({ directory: process.argv[2], limits: { idleFileCountMax: 0 } });
const tasks = [];
for (const index of [1, 2]) tasks.push([index, await storage.createTask(factsOf(index))]);

const held = [];
try {
  for (;;) held.push(await open("/dev/null"));
} catch (error) {
  if (error.code !== "EMFILE") throw error;
}
for (const _attempt of [1, 2]) {
  const outcomes = await Promise.all(
    tasks.map(([index, task]) =>
      fill(index, task).then(
        () => "done",
        (error) => error.code,
      ),
    ),
  );
  console.log(outcomes.join(" "));
  for (const handle of held.splice(0)) await handle.close();
}
await storage[Symbol.asyncDispose]();

async function fill(index, task) {
  const content = contentOfTask(index);
  for (let number = 0; number < task.pieceCount; number++) {
    const { offset, length } = task.bounds(number);
    const draft = { number, trafficType: "BACK_TO_SOURCE", parentId: "" };
    await task.writePiece(draft, inOne(content.subarray(offset, offset + length)));
  }
  await task.seal();
}

async function* inOne(bytes) {
  yield bytes;
}

function factsOf(index) {
  return {
    taskId: taskIdOf(index),
    url: "http://origin.invalid/",
    contentLength: contentOfTask(index).byteLength,
    pieceLength: PIECE_LENGTH,
    contentVersion: "v1",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 1,
  };
}
