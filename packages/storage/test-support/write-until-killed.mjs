// A storage at work, for crash.test.ts to kill: fetches, seals, hands out and deletes tasks until it dies.
//   node write-until-killed.mjs <directory> <run>
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { openStorage } from "../dist/index.js";
import { contentOfTask, PIECE_LENGTH, taskIdOf } from "./crash-content.mjs";

const [directory, run] = process.argv.slice(2);
const storage = await openStorage({
  directory,
  // Small buffers: many moments to die at.
  limits: { readLength: 4096, writeLength: 4096, idleFileCountMax: 4 },
});
await mkdir(join(directory, "outputs"), { recursive: true });
process.stdout.write("ready\n");

for (let round = 0; ; round++) await Promise.all([0, 1, 2].map((lane) => work(round, lane)));

async function work(round, lane) {
  const index = lane * 4 + (round % 4);
  const content = contentOfTask(index);
  const task = await storage.createTask({
    taskId: taskIdOf(index),
    url: "http://origin.invalid/",
    contentLength: content.byteLength,
    pieceLength: PIECE_LENGTH,
    contentVersion: "v1",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 1,
  });
  const numbers = Array.from({ length: task.pieceCount }, (_, number) => number);
  await Promise.all(
    numbers.map((number) => {
      const { offset, length } = task.bounds(number);
      const draft = { number, trafficType: "BACK_TO_SOURCE", parentId: "" };
      return task.writePiece(draft, inChunks(content.subarray(offset, offset + length)));
    }),
  );
  const name = `${run}-${round}-${lane}`;
  await task.output(join(directory, "outputs", name));
  await task.seal();
  await task.output(join(directory, "outputs", `${name}-copy`), { overwrite: true });
  await storage.pinTask(taskIdOf(index), round % 2 === 0);
  await storage.usage();
  if (round % 3 === lane) await storage.deleteTask(taskIdOf(index));
  else if (round % 4 === lane) await storage.evictTask(taskIdOf(index));
}

async function* inChunks(bytes) {
  for (let start = 0; start < bytes.byteLength; start += 1500) {
    yield bytes.subarray(start, start + 1500);
  }
}
